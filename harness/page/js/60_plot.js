// A plot with what it needs around it: drawn when it comes into view, a tooltip, the plotted rows as a table, files.
(page => {
  "use strict";
  const {el} = page;

  page.hasPlots = () => typeof window.vegaEmbed === "function";

  const waiting = new Map();
  const observer = new IntersectionObserver(entries => {
    for (const entry of entries)
      if (entry.isIntersecting) waiting.get(entry.target)?.();
  }, {rootMargin: "300px"});

  const tip = el("div", {class: "tip", role: "tooltip", hidden: true});

  function moveTip(event) {
    const {innerWidth, innerHeight} = window, box = tip.getBoundingClientRect();
    const left = event.clientX + 14 + box.width > innerWidth ? event.clientX - 14 - box.width : event.clientX + 14;
    const top = event.clientY + 14 + box.height > innerHeight ? event.clientY - 14 - box.height : event.clientY + 14;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  }

  function hideTip() {
    tip.hidden = true;
  }

  // Vega calls it with null when the pointer leaves a mark. describe(datum): [title, [[name, text], ...]].
  const tooltip = describe => (_handler, event, item, value) => {
    if (value === null || value === undefined || !item?.datum) return hideTip();
    const [title, pairs] = describe(item.datum);
    tip.replaceChildren(el("b", {}, title),
      el("dl", {}, pairs.filter(pair => pair[1]).map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])));
    if (!tip.isConnected) document.body.append(tip);
    tip.hidden = false;
    moveTip(event);
  };

  window.addEventListener("scroll", hideTip, {passive: true});
  window.addEventListener("keydown", event => event.key === "Escape" && hideTip());

  // Expressions are interpreted (ast), so that the page's policy can do without eval.
  const options = describe => ({ast: true, actions: false, renderer: "svg", defaultStyle: false, mode: "vega-lite",
    config: page.vegaConfig(), tooltip: describe ? tooltip(describe) : false});

  function save(href, name) {
    const link = el("a", {href, download: name});
    document.body.append(link);
    link.click();
    link.remove();
  }

  async function exportPlot(figure, format) {
    const stage = el("div", {class: "stage"});
    document.body.append(stage);
    const result = await window.vegaEmbed(stage, figure.shown.exportSpec || figure.shown.spec, options(null));
    result.view.background(page.color("--panel"));
    const href = await result.view.toImageURL(format, format === "png" ? 2 : 1);
    save(href, `${figure.name}.${format}`);
    if (href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(href), 1000);
    result.finalize();
    stage.remove();
  }

  async function draw(figure) {
    waiting.delete(figure.place);
    observer.unobserve(figure.place);
    const {shown} = figure, stage = el("div", {class: "stage"});
    figure.place.append(stage);
    const result = await window.vegaEmbed(stage, shown.spec, options(shown.describe));
    if (shown !== figure.shown) { // a newer one is on its way
      result.finalize();
      return stage.remove();
    }
    figure.view?.finalize();
    figure.view = result;
    hideTip();
    stage.className = "drawn";
    figure.place.replaceChildren(stage);
  }

  function fillTable(figure) {
    const {columns, rows} = figure.shown;
    if (figure.details.open) page.fresh(figure.rows, rows, () => page.table(columns, rows));
  }

  // A figure in the page. name: of its files.
  page.figure = name => {
    const place = el("div", {class: "plot", role: "img"}), rows = el("div", {class: "scroll"});
    const details = el("details", {class: "rows"}, el("summary"), rows);
    const title = el("figcaption"), buttons = el("span", {class: "files"});
    const figure = {name, place, rows, details, title, shown: null, view: null,
      node: el("figure", {}, el("div", {class: "caption"}, title, buttons), place, details)};
    details.addEventListener("toggle", () => fillTable(figure));
    if (page.hasPlots()) {
      for (const format of ["svg", "png"])
        buttons.append(el("button", {type: "button", "aria-label": `save the plot as ${format.toUpperCase()}`,
          onclick: () => exportPlot(figure, format)}, format.toUpperCase()));
    } else {
      place.hidden = true;
      details.open = true;
    }
    return figure;
  };

  // shown: {title, label, spec, exportSpec, describe, columns, rows}
  page.showFigure = (figure, shown) => {
    const signature = JSON.stringify([shown.spec, page.isDark()]), isNew = signature !== figure.signature;
    Object.assign(figure, {shown, signature});
    figure.title.textContent = shown.title;
    figure.place.setAttribute("aria-label", shown.label);
    figure.details.firstChild.textContent = `Show as table (${page.text.plural(shown.rows.length, "row")})`;
    fillTable(figure);
    if (!isNew || !page.hasPlots()) return;
    figure.place.style.minHeight = `${shown.height || 200}px`;
    waiting.set(figure.place, () => draw(figure));
    observer.unobserve(figure.place); // so that it reports anew where the place is
    observer.observe(figure.place);
  };

  page.noPlots = () => el("p", {class: "notice"}, "This build of salebench has no plotting library: tables stand for "
    + "the plots. ", el("code", {}, "scripts/get_vega"), " fetches it, for a new build.");
})(window.salebench ??= {});
