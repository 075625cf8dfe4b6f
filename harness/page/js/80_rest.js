// Cells that failed, the machine and the config.
(page => {
  "use strict";
  const {el, text} = page;

  const FIRST = 100; // rows; the rest on demand

  const COLUMNS = [
    {name: "cell", class: "number", text: row => String(row.cell)},
    {name: "method", header: true, text: row => row.method},
    {name: "settings", text: row => row.settings || text.NONE},
    {name: "problem", text: row => row.place},
    {name: "tokens", class: "number", text: row => String(row.length)},
    {name: "status", class: "status", text: row => row.status},
    {name: "reason", class: "reason", text: row => row.reason || text.NONE},
    {name: "repeat", class: "repeat", cell: row => row.repro ? page.command(row.repro) : text.NONE},
  ];

  page.renderFailures = (model, state) => {
    const {failures} = model, shown = state.allFailures ? failures : failures.slice(0, FIRST);
    const byStatus = page.groupBy(failures, row => row.status);
    const counts = [...byStatus].map(([status, rows]) => `${rows.length} ${status}`).join(", ");
    page.fresh(page.part("failures", "heading"), 0, () => page.heading("failures", "Failures"));
    page.fresh(page.part("failures", "table"), [shown.map(row => row.cell), counts], () => failures.length ? [
      el("p", {class: "remark"}, `${text.plural(failures.length, "cell")} of ${model.rows.length} not ok: ${counts}`),
      el("div", {class: "scroll"}, page.table(COLUMNS, shown)),
      shown.length < failures.length && el("button", {type: "button", id: "all-failures",
        onclick: () => page.set({allFailures: true})}, `show all ${failures.length}`),
    ] : el("p", {class: "empty"}, model.rows.length ? "All cells are ok." : "No cell has ended yet."));
  };

  page.renderMachine = model => {
    const {machine = [], config = ""} = model.data;
    page.fresh(page.part("machine", "heading"), 0, () => page.heading("machine", "Machine and config"));
    page.fresh(page.part("machine", "content"), [machine, config], () => [
      machine.length > 0 && el("dl", {class: "pairs"}, machine.map(([name, value]) =>
        [el("dt", {}, name), el("dd", {}, value)])),
      config && el("details", {class: "config"}, el("summary", {}, "config.yaml"),
        el("pre", {tabindex: 0}, el("code", {}, config))),
    ]);
  };
})(window.salebench ??= {});
