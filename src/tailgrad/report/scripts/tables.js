/* Sorts by a column; searches and pages through long tables. */
(function () {
  "use strict";
  var page = 25;

  function made(tag, fields, text) {
    var element = Object.assign(document.createElement(tag), fields);
    if (text) element.textContent = text;
    return element;
  }
  report.made = made;

  function value(row, column) { return row.cells[column].textContent.trim(); }

  function compare(a, b) {
    var x = parseFloat(a.replace("\u2212", "-").replace("<", "")), y = parseFloat(b.replace("<", ""));
    var known = [isNaN(x), isNaN(y)];
    if (known[0] || known[1]) return known[0] && known[1] ? a.localeCompare(b, undefined, { numeric: true }) : known[0] - known[1];
    return x - y;
  }

  function sortable(table, show) {
    var heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head, column) {
      var button = made("button", { type: "button", className: "sort" }, head.textContent);
      head.textContent = "";
      head.append(button);
      button.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var rows = Array.from(table.tBodies[0].rows);
        rows.sort(function (a, b) { return (down ? -1 : 1) * compare(value(a, column), value(b, column)); });
        table.tBodies[0].append.apply(table.tBodies[0], rows);
        show();
      });
    });
  }

  function paged(table, box) {
    var search = made("input", { type: "search", placeholder: "name of a class or word" });
    var label = made("label", {}, "Search ");
    var before = made("button", { type: "button" }, "Back"), after = made("button", { type: "button" }, "Next");
    var said = made("span", { className: "said" });
    var bar = made("div", { className: "bar" });
    var start = 0;
    said.setAttribute("role", "status");
    label.append(search);
    bar.append(label, before, after, said);
    box.before(bar);

    function show() {
      var words = search.value.toLowerCase();
      var all = Array.from(table.tBodies[0].rows);
      var found = all.filter(function (row) { return row.textContent.toLowerCase().indexOf(words) >= 0; });
      start = Math.max(0, Math.min(start, Math.floor(Math.max(0, found.length - 1) / page) * page));
      var shown = new Set(found.slice(start, start + page));
      all.forEach(function (row) { row.hidden = !shown.has(row); });
      before.disabled = start === 0;
      after.disabled = start + page >= found.length;
      said.textContent = found.length ? (start + 1) + " to " + (start + shown.size) + " of " + found.length : "nothing found";
    }
    search.addEventListener("input", function () { start = 0; show(); });
    before.addEventListener("click", function () { start -= page; show(); });
    after.addEventListener("click", function () { start += page; show(); });
    show();
    return show;
  }

  report.enhance = function (table) {
    var rows = table.tBodies[0].rows.length;
    var show = rows > page ? paged(table, table.closest(".scroll")) : function () {};
    if (rows > 2) sortable(table, show);
  };

  document.querySelectorAll("table.data").forEach(report.enhance);
})();
