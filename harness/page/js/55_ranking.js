// Which method is fastest at the chosen target.
(page => {
  "use strict";
  const {el, svg, text} = page;

  const WIDTH = 150, HEIGHT = 16, PAD = 6;
  const KINDS = {
    "attention only": "no rivals: masks made elsewhere, so that times leave out the selection",
    oracle: "no rivals: oracles, which read the true attention first",
  };

  // Speedups on a log axis that all rows share, with a line at dense attention.
  function speedupAxis(rows) {
    const values = rows.flatMap(row => [row.speedup, row.speedup_lo, row.speedup_hi]).filter(value => value > 0);
    const low = Math.log(Math.min(0.9, ...values)), high = Math.log(Math.max(1.1, ...values));
    return value => PAD + (WIDTH - 2 * PAD) * (Math.log(value) - low) / (high - low);
  }

  function intervalMark(row, at, style) {
    const y = HEIGHT / 2, hasInterval = page.isNumber(row.speedup_lo) && page.isNumber(row.speedup_hi);
    return svg("svg", {class: "interval", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
      "aria-label": `speedup ${text.fixed(row.speedup, 2)}, 95 % ${rangeText(row)}`},
    svg("line", {class: "one", x1: at(1), x2: at(1), y1: 0, y2: HEIGHT}),
    hasInterval && svg("line", {x1: at(row.speedup_lo), x2: at(row.speedup_hi), y1: y, y2: y, stroke: style.color,
      "stroke-width": 2}),
    svg("circle", {cx: at(row.speedup), cy: y, r: 3.5, fill: style.color}));
  }

  const rangeText = row => text.interval(row.speedup_lo, row.speedup_hi, value => text.fixed(value, 2));

  const graph = (row, at, style) => [intervalMark(row, at, style), el("span", {class: "range"}, rangeText(row))];

  const methodCell = (row, styles) => [page.glyph(styles[row.method]), el("span", {}, row.method),
    row.is_baseline && el("span", {class: "tag"}, "baseline")];

  function columns(at, styles) {
    const number = (name, title, show) => ({name, title, class: "number", text: show});
    return [
      {name: "#", class: "number place", text: row => row.place || text.NONE},
      {name: "method", header: true, class: "method", cell: row => methodCell(row, styles)},
      number("met", "problems at which some setting meets the target / problems",
        row => `${row.reached}/${row.problems}`),
      {...number("speedup", "geometric mean over all problems of the fastest setting that meets it; a miss is 1",
        row => (row.interpolated ? "~" : "") + text.fixed(row.speedup, 2) + (row.doubtful ? "?" : "")), class: "number speedup"},
      {name: "95 %", title: "bootstrap interval over problems and the rounds within each", class: "graph",
        cell: row => row.reached ? graph(row, at, styles[row.method]) : text.NONE},
      number("if met", "the same mean over the problems that are met", row => text.fixed(row.speedup_reached, 2)),
      number("density", "mean over the problems that are met", row => text.fixed(row.density, 4)),
      number("recall", "the worst of the problems that are met", row => text.fixed(row.recall, 4)),
      number("error", "the worst of the problems that are met", row => text.short(row.error)),
      number("select", "mean share of the selection in the time", row => text.percent(row.select_share)),
      number("missed by", "the best figure at the problem where that is worst", row => text.short(row.missed_by)),
    ];
  }

  // The rows of each kind in a body of its own: those that are no rivals stand apart.
  function groupedTable(name, setup, shown, rows) {
    const bodies = [...page.groupBy(rows, row => row.kind)].map(([kind, group]) => el("tbody", {},
      KINDS[kind] && el("tr", {class: "group"}, el("th", {colspan: shown.length, scope: "rowgroup"}, KINDS[kind])),
      group.map(row => page.tableRow(shown, row, {class: row.best === 0 || row.reached === 0 ? "missed" : null}))));
    const head = shown.map(column => el("th", {scope: "col", class: column.class, title: column.title}, column.name));
    return el("table", {class: `cards ${name}`}, setup && el("caption", {}, setup),
      el("thead", {}, el("tr", {}, head)), bodies);
  }

  function rankingTable(setup, rows, styles) {
    let place = 0;
    const numbered = rows.map(row => ({...row, place: row.kind === "rival" && row.reached > 0 ? ++place : 0}));
    return groupedTable("ranking", setup, columns(speedupAxis(rows), styles), numbered);
  }

  // The length from which on a rival beats dense at all that were measured.
  function crossover(cells, lengths) {
    let first = "never";
    for (const length of lengths) {
      const row = cells.get(length);
      if (!row || row.reached === 0) continue;
      if (row.speedup <= 1) first = "never";
      else if (first === "never") first = length;
    }
    return first;
  }

  // A method with its rows by length, the fastest first as far as they compete.
  function methodsByLength(rows) {
    const order = ["rival", ...Object.keys(KINDS)];
    return [...page.groupBy(rows, row => row.kind + "\n" + row.method).values()].map(group => {
      const {method, kind, is_baseline} = group[0], reached = group.filter(row => row.reached > 0);
      return {method, kind, is_baseline, cells: new Map(group.map(row => [row.part, row])),
        best: Math.max(0, ...reached.map(row => row.speedup))};
    }).sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || b.best - a.best);
  }

  function lengthCell(row, fastest) {
    if (!row || !row.reached) return [text.NONE, el("small", {}, row ? `0/${row.problems}` : "")];
    const isFastest = row.kind === "rival" && row.speedup === fastest;
    return [el(isFastest ? "strong" : "span", {title: `95 % ${rangeText(row)}`}, text.fixed(row.speedup, 2)),
      el("small", {}, `${row.reached}/${row.problems}`)];
  }

  function lengthTable(setup, rows, styles) {
    const lengths = page.distinct(rows.map(row => row.part));
    const rivals = rows.filter(row => row.kind === "rival" && row.reached > 0);
    const fastest = length => Math.max(...rivals.filter(row => row.part === length).map(row => row.speedup));
    const competes = row => row.kind === "rival" && !row.is_baseline && row.best > 0;
    const from = row => competes(row) ? crossover(row.cells, lengths) : text.NONE;
    const shown = [
      {name: "method", header: true, class: "method", cell: row => methodCell(row, styles)},
      ...lengths.map(length => ({name: `${length} tokens`, class: "number pair",
        title: "speedup, and problems at which some setting meets the target / problems",
        cell: method => lengthCell(method.cells.get(length), fastest(length))})),
      {name: "faster than dense from", class: "number", text: from},
    ];
    return groupedTable("bylength", setup, shown, methodsByLength(rows));
  }

  function controls(model, state) {
    const targets = page.targets(model), hasLengths = targets.some(target => target.length.length);
    const groups = [["error", "relative error"], ["recall", "recall"]].map(([metric, group]) => ({group,
      options: targets.filter(target => target.metric === metric).map(target => [target.key, target.text])}));
    return el("div", {class: "controls"},
      page.select("target", "target", groups.filter(group => group.options.length), page.target(model, state).key,
        key => page.set({target: key})),
      hasLengths && page.choice("by", "table", [["run", "all problems"], ["length", "by length"]], state.by,
        by => page.set({by})));
  }

  page.renderRanking = (model, state) => {
    const target = page.target(model, state);
    page.fresh(page.part("ranking", "heading"), 0, () => page.heading("ranking", "Ranking"));
    page.fresh(page.part("ranking", "controls"), page.targets(model).map(item => [item.key, item.length.length > 0]),
      () => target && controls(model, state));
    const byLength = state.by === "length" && target?.length.length > 0;
    const rows = (byLength ? target.length : target?.run) || [];
    const styles = page.styles(model.methods), make = byLength ? lengthTable : rankingTable;
    page.fresh(page.part("ranking", "table"), [byLength, rows, model.methods], () => rows.length
      ? [...page.groupBy(rows, row => row.setup)].map(([setup, group]) =>
        el("div", {class: "scroll"}, make(setup, group, styles)))
      : el("p", {class: "empty"}, "No cell has usable times yet: nothing to rank."));
    const goal = rows.length > 0 && `met: ${target.text}, by the fastest of the settings that do`;
    const notes = [goal, ...(model.data.notes || [])].filter(Boolean);
    page.fresh(page.part("ranking", "notes"), notes, () =>
      el("ul", {class: "notes"}, notes.map(note => el("li", {}, note))));
  };
})(window.salebench ??= {});
