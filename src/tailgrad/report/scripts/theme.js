/* Light, dark, or whatever the system says. */
var report = {};
(function () {
  "use strict";
  var root = document.documentElement;
  var button = document.querySelector("#theme");
  var names = ["system", "light", "dark"];
  var listeners = [];

  report.colour = function (name) {
    return getComputedStyle(root).getPropertyValue(name).trim();
  };
  report.onTheme = function (listener) { listeners.push(listener); };

  function tell() { listeners.forEach(function (listener) { listener(); }); }

  function set(name) {
    root.dataset.theme = name;
    button.textContent = "Colours: " + name;
    tell();
  }

  button.addEventListener("click", function () {
    set(names[(names.indexOf(root.dataset.theme) + 1) % names.length]);
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
})();
