// Where the time goes: selection, index and attention as shares of dense attention's time.
(page => {
  "use strict";
  const {el, text} = page;

  const PHASES = ["select", "index", "attend"], ROW = 24;

  // One bar: its length is 1 / the geometric mean of the speedups, as in the ranking, split by the mean shares.
  function bar(name, rows, of) {
    const timed = rows.filter(row => row.timed && row.speedup > 0);
    const length = 1 / page.geometricMean(timed.map(row => row.speedup));
    const shares = PHASES.map(phase => page.mean(timed.map(row => {
      const sum = PHASES.reduce((total, other) => total + (row[`${other}_s`] || 0), 0);
      return sum > 0 ? (row[`${phase}_s`] || 0) / sum : 0;
    })));
    return {name, method: rows[0].method, kind: rows[0].kind, settings: page.distinct(rows.map(row => row.settings)),
      length, parts: shares.map(share => share * length), met: timed.length, of};
  }

  function bestBars(model, target) {
    const timed = model.settings.filter(row => row.timed && page.isNumber(row.speedup) && page.meets(target, row));
    return [...page.groupBy(timed, row => [row.method, row.kind, row.backend].join("\n")).values()].map(rows => {
      const best = [...page.groupBy(rows, row => row.placeKey).values()].map(group =>
        group.reduce((a, b) => b.total_s < a.total_s ? b : a));
      return bar(rows[0].method, best, model.problems);
    });
  }

  function allBars(model, method) {
    const timed = model.settings.filter(row => row.timed && page.isNumber(row.speedup) && row.method === method);
    return [...page.groupBy(timed, row => [row.line, row.settings].join("\n")).values()].map(rows =>
      bar(rows[0].settings || rows[0].method, rows, model.problems));
  }

  function bars(model, state) {
    const target = page.target(model, state);
    const found = state.bars ? allBars(model, state.bars) : target ? bestBars(model, target) : [];
    const order = ["rival", "attention only", "oracle"];
    found.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || a.length - b.length);
    // Bars of one name would lie over each other.
    const names = page.groupBy(found.map(item => ({...item,
      name: item.kind === "rival" ? item.name : `${item.name} (${item.kind})`})), item => item.name);
    const numbered = (item, i) => i ? {...item, name: `${item.name} (${i + 1})`} : item;
    return [...names.values()].flatMap(same => same.map(numbered));
  }

  function spec(shown, isExport) {
    const values = shown.flatMap((item, i) => PHASES.map((phase, order) =>
      ({i, name: item.name, phase, order, share: item.parts[order]})));
    const labels = shown.map(item => ({name: item.name, total: item.length, label: text.fixed(item.length, 2)}));
    const muted = page.color("--muted"), high = 1.12 * Math.max(1, ...shown.map(item => item.length));
    const y = {field: "name", type: "nominal", sort: null, title: null,
      axis: {labelLimit: window.innerWidth < 600 ? 110 : 300, domain: false, ticks: false}};
    const scale = {domain: [0, high], nice: false};
    return {
      width: isExport ? 560 : "container", height: ROW * shown.length,
      autosize: {type: "fit-x", contains: "padding"},
      layer: [
        {data: {values}, mark: {type: "bar", height: 14}, encoding: {y,
          x: {field: "share", type: "quantitative", title: "time / time of dense attention", scale,
            axis: {format: "~g", tickCount: 6}},
          order: {field: "order"},
          color: {field: "phase", type: "nominal", legend: isExport ? {title: null} : null,
            scale: {domain: PHASES, range: PHASES.map(page.phaseColor)}},
          tooltip: {field: "i", type: "quantitative"}}},
        {data: {values: labels}, mark: {type: "text", align: "left", dx: 5, fontSize: 11, color: page.color("--text")},
          encoding: {y, x: {field: "total", type: "quantitative"}, text: {field: "label"}}},
        {data: {values: [{}]}, mark: {type: "rule", strokeDash: [5, 3], color: muted}, encoding: {x: {datum: 1}}},
      ],
    };
  }

  const COLUMNS = [
    {name: "method", header: true, text: item => item.method},
    {name: "settings", text: item => item.settings.join("; ")},
    {name: "problems", class: "number", text: item => `${item.met}/${item.of}`},
    ...PHASES.map((phase, i) => ({name: phase, class: "number", text: item => text.fixed(item.parts[i], 3)})),
    {name: "total", class: "number", text: item => text.fixed(item.length, 3)},
  ];

  function describe(item) {
    const settings = item.settings.length > 3 ? `${item.settings.length} different ones` : item.settings.join("; ");
    const share = part => `${text.fixed(part, 3)} (${text.percent(part / item.length)})`;
    return [item.method, [["settings", settings], ["problems", `${item.met} of ${item.of}`],
      ...PHASES.map((phase, i) => [phase, share(item.parts[i])]),
      ["total", `${text.fixed(item.length, 3)} of dense`], ["speedup", text.fixed(1 / item.length, 2)],
      ["kind", item.kind !== "rival" && item.kind]]];
  }

  const legend = () => el("p", {class: "legend"}, PHASES.map(phase => el("span", {},
    page.svg("svg", {class: "glyph", viewBox: "0 0 2 2", "aria-hidden": "true"},
      page.svg("rect", {width: 2, height: 2, fill: page.phaseColor(phase)})), phase)));

  function controls(model, state) {
    const methods = page.distinct(model.settings.filter(row => row.timed).map(row => row.method));
    const options = [["", "each method's fastest that meets the target"],
      {group: "all settings of", options: methods.map(method => [method, method])}];
    return el("div", {class: "controls"}, page.select("bars", "bars", options, state.bars, bars => page.set({bars})));
  }

  let figure = null;

  page.renderTimes = (model, state) => {
    const shown = bars(model, state), target = page.target(model, state);
    page.fresh(page.part("times", "heading"), 0, () => page.heading("times", "Time shares"));
    page.fresh(page.part("times", "controls"), page.distinct(model.settings.map(row => row.method + row.timed)), () =>
      model.settings.some(row => row.timed) && controls(model, state));
    page.fresh(page.part("times", "legend"), shown.length > 0, () => page.hasPlots() && shown.length > 0 && legend());
    figure ??= page.figure("time-shares");
    page.fresh(page.part("times", "plots"), shown.length > 0, () => shown.length ? figure.node
      : el("p", {class: "empty"}, "No setting with usable times to show here."));
    if (!shown.length) return;
    const title = state.bars ? `All settings of ${state.bars}, over all problems`
      : `Fastest settings that meet the target (${target.text}), over the problems where they do`;
    page.showFigure(figure, {
      title, height: ROW * shown.length + 60, columns: COLUMNS, rows: shown,
      label: `${title}: shares of select, index and attend of the time of dense attention; the table below holds the `
        + "figures",
      spec: spec(shown, false), exportSpec: spec(shown, true), describe: datum => describe(shown[datum.i]),
    });
  };
})(window.salebench ??= {});
