"use strict";
// Draws the page's figures with plotly: in the page's colours, when they come into view.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plots = [...document.querySelectorAll("[data-figure]")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches || !matchMedia("(hover: hover)").matches;
  const hasWebGL = Boolean(document.createElement("canvas").getContext("webgl"));
  const find = (name, value) => document.querySelector(`[data-${name}="${value}"]`);

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  function template() {
    const axis = {
      gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("line"),
      tickfont: { color: colour("quiet") }, title: { font: { color: colour("quiet") } },
    };
    const hover = { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("text") } };
    return { layout: {
      font: { color: colour("text"), size: 12, family: getComputedStyle(document.body).fontFamily },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: axis, yaxis: axis, hoverlabel: hover,
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("accent") },
    } };
  }

  function prepare(figure) {
    if (!hasWebGL) figure.data.filter(t => t.type === "scattergl").forEach(t => { t.type = "scatter"; });
    if (touch) figure.layout.dragmode = false; // a finger scrolls the page
  }

  function draw(plot) {
    const figure = figures[plot.dataset.figure];
    if (!plot.dataset.drawn) {
      prepare(figure);
      plot.dataset.drawn = "yes";
    }
    figure.layout.template = template();
    const tools = figure.more.names ? ["zoom2d", "pan2d", "lasso2d", "zoomIn2d", "zoomOut2d"] : [];
    const config = {
      responsive: true, displaylogo: false, scrollZoom: false, plotlyServerURL: "",
      displayModeBar: touch ? false : "hover",
      modeBarButtons: [[...tools, "resetScale2d", "toImage"]], // none that sends anything anywhere
      toImageButtonOptions: { filename: plot.dataset.figure, scale: 2 },
    };
    const isNew = !plot.classList.contains("js-plotly-plot");
    Plotly.react(plot, figure.data, figure.layout, config);
    if (isNew && figure.more.names) listen(plot, figure);
  }

  function listen(plot, figure) {
    const name = plot.dataset.figure;
    plot.on("plotly_selected", event => pick(name, figure, event ? event.points : []));
    plot.on("plotly_deselect", () => pick(name, figure, []));
  }

  function pick(name, figure, points) {
    const box = find("picked", name);
    const names = [...new Set(points.map(point => point.customdata))].map(row => figure.more.names[row]);
    box.hidden = names.length === 0;
    box.querySelector("[data-count]").textContent = `${names.length.toLocaleString("en")} cells chosen`;
    box.querySelector("textarea").value = names.join("\n");
    box.querySelector("[data-save]").href = `data:text/plain;charset=utf-8,${encodeURIComponent(names.join("\n"))}`;
  }

  function colourBy(name, wanted) {
    const figure = figures[name];
    let place = 0;
    figure.more.colourings.forEach((colouring, number) => {
      for (const end = place + colouring.traces; place < end; place += 1) {
        figure.data[place].visible = number === wanted;
        delete figure.data[place].selectedpoints;
      }
    });
    find("says", name).textContent = figure.more.colourings[wanted].says;
    pick(name, figure, []);
    const plot = find("figure", name);
    if (plot.dataset.drawn) draw(plot);
  }

  function toggleLasso(button) {
    const name = button.dataset.lasso;
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    figures[name].layout.dragmode = on ? "lasso" : touch ? false : "pan";
    draw(find("figure", name));
  }

  for (const select of document.querySelectorAll("[data-colours]")) {
    select.addEventListener("change", () => colourBy(select.dataset.colours, select.selectedIndex));
    colourBy(select.dataset.colours, select.selectedIndex);
  }
  for (const button of document.querySelectorAll("[data-lasso]")) {
    button.addEventListener("click", () => toggleLasso(button));
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => {
      const text = button.closest("[data-picked]").querySelector("textarea");
      text.select();
      if (navigator.clipboard) navigator.clipboard.writeText(text.value).catch(() => document.execCommand("copy"));
      else document.execCommand("copy");
    });
  }

  const drawAll = () => plots.forEach(draw);
  const redraw = () => plots.filter(plot => plot.dataset.drawn).forEach(draw);
  dark.addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw);
  window.addEventListener("beforeprint", drawAll);
  const seen = new IntersectionObserver(entries => {
    for (const entry of entries.filter(one => one.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "300px" });
  plots.forEach(plot => seen.observe(plot));
})();
