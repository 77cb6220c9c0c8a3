/* What stands above a heat map: a slider over its epochs, and the order of its classes. */
(function () {
  "use strict";

  function ordered(rows, places) {
    return places ? places.map(function (i) { return places.map(function (j) { return rows[i][j]; }); }) : rows;
  }

  function slider(bar, frames, change) {
    var label = report.made("label", {}, "Epoch ");
    var input = report.made("input", { type: "range", min: 0, max: frames.length - 1, value: frames.length - 1 });
    var said = report.made("output", {}, frames[frames.length - 1].label);
    label.append(input);
    bar.append(label, said);
    input.setAttribute("aria-valuetext", said.textContent);
    input.addEventListener("input", function () {
      var frame = frames[Number(input.value)];
      said.textContent = frame.label;
      input.setAttribute("aria-valuetext", frame.label + ". " + frame.alt);
      change(frame.z);
    });
  }

  function chooser(bar, change) {
    var label = report.made("label", {}, "Order ");
    var select = report.made("select", {});
    select.append(
      report.made("option", { value: "count" }, "by training count"),
      report.made("option", { value: "alike" }, "like classes together")
    );
    label.append(select);
    bar.append(label);
    select.addEventListener("change", function () { change(select.value === "alike"); });
  }

  report.control = function (figure, spec) {
    var meta = spec.layout.meta || {};
    if (!meta.frames && !meta.alike) return;
    var bar = report.made("div", { className: "bar" });
    var cells = spec.data[0], labels = cells.x, whole = cells.z, places = null;
    function redraw() {
      cells.z = ordered(whole, places);
      cells.x = cells.y = places ? places.map(function (i) { return labels[i]; }) : labels;
      report.plot(figure.querySelector(".canvas"), spec.data, spec.layout);
    }
    if (meta.frames) slider(bar, meta.frames, function (z) { whole = z; redraw(); });
    if (meta.alike) chooser(bar, function (on) { places = on ? meta.alike : null; redraw(); });
    figure.querySelector(".canvas").before(bar);
  };
})();
