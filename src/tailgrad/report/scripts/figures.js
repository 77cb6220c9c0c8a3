/* Draws figures one after the other, so that the page can be read meanwhile. */
(function () {
  "use strict";
  var settings = { displayModeBar: false, responsive: true };
  var waiting = [];
  var root = document.documentElement;

  /* Names along the bottom that would overlap on a narrow screen are thinned out; hovering names all. */
  function thinned(axis, name, width) {
    var every = axis.ticktext && name === "xaxis" ? Math.ceil(axis.ticktext.length * 20 / Math.max(1, width - 60)) : 1;
    if (every < 2) return axis;
    function kept(_, at) { return at % every === 0; }
    return Object.assign({}, axis, { tickvals: axis.tickvals.filter(kept), ticktext: axis.ticktext.filter(kept) });
  }

  function themed(layout, width) {
    var copy = Object.assign({}, layout, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: Object.assign({}, layout.font, { color: report.colour("--ink"), family: "inherit" }),
      hoverlabel: {
        bgcolor: report.colour("--panel"), bordercolor: report.colour("--line"),
        font: { color: report.colour("--ink") },
      },
    });
    Object.keys(layout).filter(function (key) { return /^[xy]axis/.test(key); }).forEach(function (axis) {
      var lines = {
        gridcolor: report.colour("--line"), zerolinecolor: report.colour("--soft"),
        linecolor: report.colour("--line"),
      };
      copy[axis] = Object.assign(lines, thinned(layout[axis], axis, width));
    });
    return copy;
  }

  report.plot = function (canvas, data, layout) {
    data.forEach(function (trace) {
      if (trace.type === "bar" && trace.error_x) trace.error_x.color = report.colour("--ink");
    });
    return Plotly.react(canvas, data, themed(layout, layout.width || canvas.clientWidth), settings);
  };

  report.spec = function (figure) {
    if (!figure.spec) figure.spec = JSON.parse(figure.querySelector("script").textContent);
    return figure.spec;
  };

  function draw(figure) {
    var spec = report.spec(figure);
    return report.plot(figure.querySelector(".canvas"), spec.data, spec.layout).then(function () {
      if (!figure.dataset.drawn && report.control) report.control(figure, spec);
      figure.dataset.drawn = "yes";
    });
  }

  function next() {
    var figure = waiting.shift();
    if (!figure) {
      document.documentElement.dataset.ready = "yes";
      return;
    }
    draw(figure).then(function () { setTimeout(next, 0); });
  }

  function isShown(figure) { return figure.offsetParent !== null; }

  report.drawAll = function (again) {
    var idle = !waiting.length;
    document.querySelectorAll("figure.plot").forEach(function (figure) {
      if (isShown(figure) && (again || !figure.dataset.drawn) && waiting.indexOf(figure) < 0) waiting.push(figure);
    });
    if (idle) next();
  };

  report.onTheme(function () { report.drawAll(true); });
  document.querySelectorAll("details").forEach(function (part) {
    part.addEventListener("toggle", function () { report.drawAll(false); });
  });
  /* Paper does not wait: what is still to be drawn is drawn at once. */
  function print(on) {
    if (on) root.dataset.before = root.dataset.theme;
    root.dataset.theme = on ? "light" : root.dataset.before;
    Array.from(document.querySelectorAll("figure.plot")).filter(isShown).forEach(function (figure) {
      var spec = report.spec(figure), width = figure.closest(".grid") ? 325 : 670;
      var height = Math.min(spec.layout.height || width, 1.2 * width);
      var sized = Object.assign({}, spec.layout, on ? { width: width, height: height } : {});
      report.plot(figure.querySelector(".canvas"), spec.data, sized);
    });
  }
  window.addEventListener("beforeprint", function () { print(true); });
  window.addEventListener("afterprint", function () { print(false); });
})();
