(function () {
  "use strict";
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  var settings = { displayModeBar: false, responsive: true };

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function themed(layout) {
    var copy = Object.assign({}, layout, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: Object.assign({}, layout.font, { color: colour("--ink"), family: "inherit" }),
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    });
    ["xaxis", "yaxis"].forEach(function (axis) {
      var lines = { gridcolor: colour("--line"), zerolinecolor: colour("--soft"), linecolor: colour("--line") };
      copy[axis] = Object.assign(lines, layout[axis]);
    });
    return copy;
  }

  function draw(figure) {
    var spec = JSON.parse(figure.querySelector("script").textContent);
    spec.data.forEach(function (trace) {
      if (trace.type === "bar" && trace.error_x) trace.error_x.color = colour("--ink");
    });
    var canvas = figure.querySelector(".canvas");
    Plotly.react(canvas, spec.data, themed(spec.layout), settings).then(function () {
      figure.dataset.drawn = "yes";
    });
  }

  function visible(figure) {
    return figure.offsetParent !== null;
  }

  function drawAll(again) {
    document.querySelectorAll("figure.plot").forEach(function (figure) {
      if (visible(figure) && (again || !figure.dataset.drawn)) draw(figure);
    });
  }

  document.querySelectorAll("details").forEach(function (part) {
    part.addEventListener("toggle", function () { drawAll(false); });
  });
  dark.addEventListener("change", function () {
    document.querySelectorAll("figure.plot").forEach(function (figure) { delete figure.dataset.drawn; });
    drawAll(true);
  });
  drawAll(false);
})();
