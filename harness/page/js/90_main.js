// Brings data, the reader's choices and the sections together, and follows a run that goes on.
(page => {
  "use strict";

  const EVERY_MS = 2000, PATIENCE_MS = 10000;

  const state = {target: null, by: "run", x: "speedup", recall: "missed", aggregate: null, trusted: false,
    off: new Set(), dataset: "", layer: "", length: "", place: "", headSetting: "", headDataset: "", headLength: "",
    figure: "", bars: "", allFailures: false};
  let model = null;

  // A named part of a section, whose content is replaced on its own.
  page.part = (section, name) => {
    const parent = document.getElementById(section);
    let part = parent.querySelector(`:scope > [data-part="${name}"]`);
    if (!part) parent.append(part = page.el("div", {"data-part": name}));
    return part;
  };

  function render() {
    page.renderHeader(model, state);
    page.renderRanking(model, state);
    page.renderPareto(model, state);
    page.renderHeads(model, state);
    page.renderTimes(model, state);
    page.renderFailures(model, state);
    page.renderMachine(model);
  }

  page.set = changes => {
    Object.assign(state, changes);
    render();
  };

  const isDone = () => model.rows.length >= model.data.planned;

  // Unchanged data is not sent again: the server answers the browser's question with 304.
  async function follow(last) {
    let text = last;
    try {
      const answer = await fetch("data.json", {cache: "no-cache", signal: AbortSignal.timeout(PATIENCE_MS)});
      if (!answer.ok) throw new Error(answer.statusText);
      text = await answer.text();
    } catch {
      page.renderProgress(model, "gone");
      setTimeout(follow, EVERY_MS, last);
      return;
    }
    if (text !== last) {
      model = page.read(JSON.parse(text));
      render();
    }
    page.renderProgress(model, isDone() ? "done" : "running");
    if (!isDone()) setTimeout(follow, EVERY_MS, text);
  }

  function start() {
    model = page.read(JSON.parse(document.getElementById("salebench-data").textContent));
    document.title = `${model.data.title} \u2013 SALEbench`;
    // Quick runs have no times to draw against.
    if (model.settings.length && !model.settings.some(row => row.timed)) state.x = "density";
    render();
    page.onSchemeChange(render);
    if (!model.data.live) return;
    page.renderProgress(model, isDone() ? "done" : "running");
    if (!isDone()) setTimeout(follow, EVERY_MS, "");
  }

  start();
})(window.salebench ??= {});
