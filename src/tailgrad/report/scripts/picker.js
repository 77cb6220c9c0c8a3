/* Two runs side by side, as picked. */
(function () {
  "use strict";
  var colours = ["#0072B2", "#D55E00"];
  var most = 40;

  function table(caption, header, rows) {
    var box = report.made("div", { className: "scroll", tabIndex: 0 }), found = report.made("table", { className: "data" });
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", caption);
    found.createCaption().textContent = caption;
    var head = found.createTHead().insertRow(), body = found.createTBody();
    header.forEach(function (text) { head.append(report.made("th", { scope: "col" }, text)); });
    rows.forEach(function (cells) {
      var row = body.insertRow();
      cells.forEach(function (text, at) {
        if (at) row.insertCell().textContent = text;
        else row.append(report.made("th", { scope: "row" }, text));
      });
    });
    box.append(found);
    return box;
  }

  function signed(value) { return (value < 0 ? "" : "+") + value.toFixed(3); }

  function headline(pair, names) {
    var rows = pair[0].figures.map(function (figure, at) {
      var other = pair[1].figures[at];
      return [figure[0], figure[1], other[1], signed(other[2] - figure[2])];
    });
    return table("Headline figures, 95 % over the test part", ["figure", names[0], names[1], "second minus first"], rows);
  }

  function classes(content, pair, names) {
    var rows = content.classes.map(function (name, at) {
      var a = pair[0].f1[at], b = pair[1].f1[at];
      return [name, String(content.counts[at]), a.toFixed(3), b.toFixed(3), signed(b - a)];
    });
    return table("F1 of every class", ["class", "train", names[0], names[1], "second minus first"], rows);
  }

  function dots(content, pair) {
    var places = content.classes.map(function (_, at) { return at; });
    var small = places.length <= most;
    var axis = { automargin: true, fixedrange: true, zeroline: false, range: [-0.02, 1.02] };
    var data = small ? pair.map(function (run, at) {
      return {
        type: "scatter", mode: "markers", name: run.label, x: run.f1, y: places, customdata: content.labels,
        marker: { color: colours[at], symbol: ["circle", "square"][at], size: 10 },
        hovertemplate: "%{customdata}: %{x:.3f}",
      };
    }) : [{
      type: "scatter", mode: "markers", x: pair[0].f1, y: pair[1].f1, customdata: content.labels, name: "",
      marker: { color: colours[0], opacity: 0.7 }, hovertemplate: "%{customdata}: %{x:.3f}, %{y:.3f}",
    }];
    var lines = small ? places.map(function (at) {
      return { type: "line", x0: pair[0].f1[at], x1: pair[1].f1[at], y0: at, y1: at, line: { color: "#999999", width: 2 }, layer: "below" };
    }) : [{ type: "line", x0: 0, y0: 0, x1: 1, y1: 1, line: { color: "#999999", dash: "dot" } }];
    return {
      data: data,
      layout: {
        height: small ? 110 + 24 * places.length : 420, margin: { l: 8, r: 8, t: 8, b: 8 }, dragmode: false,
        font: { size: 12 }, shapes: lines, showlegend: small,
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
        xaxis: Object.assign({ title: { text: small ? "F1 on the test part" : pair[0].label } }, axis),
        yaxis: small
          ? { tickvals: places, ticktext: content.labels, autorange: "reversed", automargin: true, fixedrange: true }
          : Object.assign({ title: { text: pair[1].label } }, axis),
      },
    };
  }

  function map(content, run) {
    var cells = {
      type: "heatmap", z: run.excess, x: content.labels, y: content.labels, zmin: -1, zmax: 1, xgap: 1, ygap: 1,
      colorscale: [[0, "#b2182b"], [0.25, "#f4a582"], [0.5, "#f7f7f7"], [0.75, "#92c5de"], [1, "#2166ac"]],
      showscale: false, hovertemplate: "%{y} and %{x}: %{z:.2f}<extra></extra>", hoverongaps: false,
    };
    var axis = { type: "category", automargin: true, fixedrange: true, showgrid: false };
    var layout = {
      height: 340, margin: { l: 8, r: 8, t: 8, b: 8 }, dragmode: false, font: { size: 11 },
      xaxis: Object.assign({ tickangle: -60 }, axis), yaxis: Object.assign({ autorange: "reversed" }, axis),
    };
    return { data: [cells], layout: layout };
  }

  function figure(title, alt, spec) {
    var found = report.made("figure", { className: "plot" }), canvas = report.made("div", { className: "canvas" });
    var words = report.made("figcaption", {});
    words.append(report.made("strong", {}, title));
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title + ". " + alt);
    found.style.setProperty("--height", spec.layout.height + "px");
    found.spec = spec;
    found.append(words, canvas);
    return found;
  }

  function start(picker) {
    var content = JSON.parse(picker.querySelector("script").textContent);
    var selects = Array.from(picker.querySelectorAll("select")), shown = picker.querySelector(".shown");
    function show() {
      var pair = selects.map(function (select) { return content.runs[Number(select.value)]; });
      var names = selects.map(function (select) { return select.selectedOptions[0].textContent; });
      var grid = report.made("div", { className: "grid" });
      if (pair[0].excess && pair[1].excess) {
        pair.forEach(function (run, at) {
          grid.append(figure("Excess: " + names[at], "Conflict minus null between classes.", map(content, run)));
        });
      }
      var all = classes(content, pair, names);
      shown.replaceChildren(
        headline(pair, names),
        figure("F1 of every class", "The table below holds the figures.", dots(content, pair)),
        all, grid
      );
      picker.querySelector(".said").textContent = "Shown: " + names.join(" beside ") + ".";
      report.enhance(all.querySelector("table"));
      report.drawAll(false);
    }
    selects[1].value = String(content.second);
    selects.forEach(function (select) { select.addEventListener("change", show); });
    show();
  }
  report.pick = function () { document.querySelectorAll(".picker").forEach(start); };
})();
