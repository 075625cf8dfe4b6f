// Density, recall and error of each head, of one setting.
(page => {
  "use strict";
  const {el, text} = page;

  const FIGURES = {density: "density", recall_mean: "recall", rel_l2: "relative L2 error"};
  // As short as cells are narrow.
  const SHORT = {density: value => value.toFixed(2), recall_mean: value => value.toFixed(3),
    rel_l2: value => value < 1e-3 ? value.toExponential(0) : String(Number(value.toPrecision(value < 0.1 ? 1 : 2)))};
  const STRONG = {light: 0.75, dark: 0.57}; // share of the range from which on a cell's text is of the other colour
  const SMALL_ERROR = 1e-3; // an axis that ends below would show rounding
  const ROW = 19, MANY_HEADS = 12; // columns, from which on values don't fit into them

  const countOf = (items, name) => page.distinct(items.map(item => item[name])).length;

  const settingKey = row => [row.line, row.settings].join("\n");

  const withHeads = model => model.settings.filter(row => model.heads.has(row.cell));

  // What the reader has chosen, or the first that there is: the most problems, then a method before an oracle or dense.
  function chosen(model, state) {
    const rows = withHeads(model), settings = page.groupBy(rows, settingKey);
    const interest = row => (row.role === "method" ? 2 : row.role === "oracle" ? 1 : 0);
    const first = [...settings.values()].sort((a, b) => interest(b[0]) - interest(a[0]) || b.length - a.length)[0];
    const setting = settings.has(state.headSetting) ? state.headSetting : first && settingKey(first[0]);
    const pick = (values, value, fallback) => values.map(String).includes(value) ? value : String(fallback);
    return {settings, setting, dataset: pick(model.datasets, state.headDataset, model.datasets[0]),
      length: pick(model.lengths, state.headLength, model.lengths.at(-1))};
  }

  function cells(model, now, figure) {
    const rows = (now.settings.get(now.setting) || [])
      .filter(row => String(row.dataset) === now.dataset && String(row.length) === now.length);
    // The id of the problem alone is enough where it tells the rows apart.
    const short = countOf(rows, "problem") === countOf(rows, "place");
    return rows.flatMap(row => model.heads.get(row.cell)[figure].map((value, head) =>
      ({row, place: short ? row.problem : row.place, head, value: page.isNumber(value) ? value : null})));
  }

  function domain(figure, values) {
    const used = values.filter(page.isNumber), low = Math.min(...used), high = Math.max(...used);
    if (!used.length) return [0, 1];
    if (figure === "recall_mean") return [Math.min(low, 0.99), 1];
    return [0, figure === "rel_l2" ? Math.max(high, SMALL_ERROR) : high || 1];
  }

  const bare = {domain: false, ticks: false};

  function spec(figure, items, isExport) {
    const range = domain(figure, items.map(item => item.value)), heads = countOf(items, "head");
    const strong = page.isDark() ? STRONG.dark : STRONG.light;
    const values = items.map((item, i) => ({i, place: item.place, head: item.head, value: item.value,
      label: item.value === null ? "" : SHORT[figure](item.value).replace(/^0\./, "."),
      strong: (item.value - range[0]) / (range[1] - range[0]) > strong}));
    const x = {field: "head", type: "ordinal", title: "query head", axis: {labelAngle: 0, orient: "top", ...bare}};
    const y = {field: "place", type: "nominal", title: null, sort: null,
      axis: {labelLimit: window.innerWidth < 600 ? 96 : 190, ...bare}};
    const colors = page.ramp(figure), [onStrong, onWeak] = [page.color("--panel"), page.color("--text")];
    return {
      width: isExport ? 420 : "container", height: ROW * countOf(items, "place"),
      autosize: {type: "fit-x", contains: "padding"}, data: {values}, encoding: {x, y},
      layer: [
        {mark: {type: "rect", stroke: page.color("--panel"), strokeWidth: 1}, encoding: {
          color: {field: "value", type: "quantitative", scale: {domain: range, range: colors, interpolate: "lab"},
            legend: {title: null, orient: "bottom", direction: "horizontal", gradientLength: 160, gradientThickness: 8,
              format: "~g", tickCount: 4}},
          tooltip: {field: "i", type: "quantitative"}}},
        heads <= MANY_HEADS && {mark: {type: "text", fontSize: 10, tooltip: null}, encoding: {text: {field: "label"},
          tooltip: {field: "i", type: "quantitative"},
          color: {condition: {test: "datum.strong", value: onStrong}, value: onWeak}}},
      ].filter(Boolean),
    };
  }

  const columns = figure => [
    {name: "problem", header: true, text: item => item.place},
    {name: "head", class: "number", text: item => String(item.head)},
    {name: FIGURES[figure], class: "number", text: item => text.short(item.value)},
  ];

  function show(model, now, shown, figure) {
    const items = cells(model, now, figure), title = FIGURES[figure], places = countOf(items, "place");
    const counts = `${text.plural(items.length, "head")} of ${text.plural(places, "problem")}`;
    page.showFigure(shown, {
      title, height: ROW * places + 70, columns: columns(figure), rows: items,
      label: `${title} of ${counts}; the table below holds the figures`,
      spec: spec(figure, items, false), exportSpec: spec(figure, items, true),
      describe: ({i}) => [`${items[i].place}, head ${items[i].head}`, [
        ["method", items[i].row.method], ["settings", items[i].row.settings], ["tokens", String(items[i].row.length)],
        ...Object.entries(FIGURES).map(([name, label]) =>
          [label, text.short(model.heads.get(items[i].row.cell)[name][items[i].head])])]],
    });
  }

  function controls(model, state, now) {
    const byMethod = page.groupBy([...now.settings], ([, rows]) => rows[0].method);
    const options = [...byMethod].map(([group, settings]) => ({group,
      options: settings.map(([key, rows]) => [key, text.setting(rows[0])])}));
    const some = (name, label, values, value, set) => values.length > 1
      && page.select(name, label, values.map(item => [item, String(item)]), value, set);
    return el("div", {class: "controls"},
      page.select("head-setting", "method and settings", options, now.setting, headSetting => page.set({headSetting})),
      some("head-dataset", "dataset", model.datasets, now.dataset, headDataset => page.set({headDataset})),
      some("head-length", "tokens", model.lengths, now.length, headLength => page.set({headLength})),
      page.choice("figure", "figure", [["", "all"], ...Object.entries(FIGURES)], state.figure,
        figure => page.set({figure})));
  }

  const figures = {};

  page.renderHeads = (model, state) => {
    const now = chosen(model, state), empty = !now.settings.size;
    page.fresh(page.part("heads", "heading"), 0, () => page.heading("heads", "Heads"));
    page.fresh(page.part("heads", "controls"), [...now.settings.keys(), model.datasets, model.lengths], () => empty
      ? el("p", {class: "empty"}, "No figures of single heads yet.") : controls(model, state, now));
    const names = empty ? [] : Object.keys(FIGURES).filter(name => !state.figure || name === state.figure);
    for (const name of names) figures[name] ??= page.figure(`heads-${FIGURES[name]}`);
    page.fresh(page.part("heads", "plots"), names, () =>
      el("div", {class: names.length > 1 ? "triple" : "single"}, names.map(name => figures[name].node)));
    for (const name of names) show(model, now, figures[name], name);
    const none = !empty && !cells(model, now, "density").length;
    page.fresh(page.part("heads", "remark"), none, () => none
      && el("p", {class: "empty"}, "This setting has no ok cell for this data set and length."));
  };
})(window.salebench ??= {});
