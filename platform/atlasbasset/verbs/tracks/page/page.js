"use strict";
// Shows the tracks that tracks.json lists, in igv.js; nothing is asked of any other server.

const SHOWN_AT_FIRST = 6;
const NARROW = 600;

function say(text) {
  document.getElementById("message").textContent = text;
}

function checkbox(parent, value, text, checked, colour) {
  const label = document.createElement("label");
  const box = document.createElement("input");
  Object.assign(box, { type: "checkbox", value, checked });
  label.append(box);
  if (colour) {
    const mark = document.createElement("i");
    mark.style.background = colour;
    label.append(mark);
  }
  label.append(text);
  parent.append(label);
  return box;
}

// igv.js writes a track's name as markup
function plain(text) {
  return text.replaceAll("<", "\u2039").replaceAll(">", "\u203a").replaceAll("&", "&amp;");
}

function trackOf(group, kind) {
  return {
    name: plain(`${group.name}, ${kind.name}`),
    type: "wig",
    format: "bigwig",
    url: group.files[kind.name],
    color: kind.name === "observed" ? "#8a8f98" : group.colour,
    height: 46,
    min: 0,
    autoscaleGroup: kind.name,
    order: 1000 * group.place + kind.place,
  };
}

function reference(about) {
  const found = { id: about.name, name: about.name };
  const sequence = about.sequence;
  return sequence
    ? { ...found, fastaURL: sequence.fasta, indexURL: sequence.index }
    : { ...found, fastaURL: about.chromosomes, format: "chromsizes" };
}

function annotations(about) {
  return about.annotations.map((one, place) => ({
    name: one.name,
    type: "annotation",
    format: "bed",
    url: one.file,
    indexed: false,
    searchable: true,
    displayMode: "COLLAPSED",
    height: 40,
    color: "#4a5568",
    order: 10000000 + place,
  }));
}

async function main() {
  if (location.protocol === "file:") {
    say("This page reads its tracks by HTTP: open it from a web server or a bucket, not as a file.");
    return;
  }
  const answer = await fetch("tracks.json");
  if (!answer.ok) throw new Error(`tracks.json is answered with ${answer.status}`);
  const about = await answer.json();
  document.title = document.getElementById("title").textContent = about.title;
  document.getElementById("about").textContent = about.says;
  about.kinds.forEach((kind, place) => { kind.place = place; });
  about.groups.forEach((group, place) => { group.place = place; });

  const kinds = about.kinds.map((kind) =>
    checkbox(document.getElementById("kinds"), kind.name, `${kind.name}: ${kind.says}`, true));
  const groups = about.groups.map((group, place) => checkbox(
    document.getElementById("groups"), group.name,
    `${group.name} (${group.n_cells.toLocaleString("en")})`, place < SHOWN_AT_FIRST, group.colour));

  const wanted = () => new Map(about.groups.flatMap((group, g) =>
    about.kinds.filter((kind, k) => groups[g].checked && kinds[k].checked && group.files[kind.name])
      .map((kind) => [trackOf(group, kind).name, trackOf(group, kind)])));

  const isWide = innerWidth >= NARROW;
  const browser = await igv.createBrowser(document.getElementById("browser"), {
    reference: reference(about),
    locus: about.locus,
    search: false,
    loadDefaultGenomes: false,
    genomeList: [],
    showCenterGuide: false,
    showChromosomeWidget: isWide,
    showCenterGuideButton: isWide,
    showCursorTrackingGuideButton: isWide,
    showMultiSelectButton: isWide,
    showSVGButton: isWide,
    showTrackLabelButton: isWide,
    tracks: [...wanted().values(), ...annotations(about)],
  });
  if (!isWide) { // igv.js keeps its styles to itself
    const style = document.createElement("style");
    style.textContent = ".igv-windowsize-panel-container, .igv-current-genome { display: none !important }";
    document.getElementById("browser").shadowRoot.append(style);
  }
  const shown = new Set(wanted().keys());

  // one change after another: loading takes time, and a name must not be loaded twice
  let pending = Promise.resolve();
  document.getElementById("choice").addEventListener("change", () => {
    pending = pending.then(async () => {
      const now = wanted();
      for (const name of [...shown].filter((name) => !now.has(name))) {
        browser.removeTrackByName(name);
        shown.delete(name);
      }
      const more = [...now.keys()].filter((name) => !shown.has(name));
      more.forEach((name) => shown.add(name));
      if (more.length) await browser.loadTrackList(more.map((name) => now.get(name)));
      browser.reorderTracks();
    });
  });
  say("");
  document.body.dataset.ready = "yes";
}

main().catch((error) => say(`The tracks cannot be shown: ${error.message || error}`));
