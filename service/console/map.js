// The page "Map": a collection on a plane, coloured by label; a lasso selects scans to look at or to label.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { Asked, Choice, Failure, Notice, Progress, TextField, Thumbnail, html, useAction, useAsked } from "./elements.js";
import { coloursOf, drawMap, fitted, inside, nearestPoint } from "./map_canvas.js";
import { go, http, listCollections, say, thumbnailPath } from "./session.js";
import { count, percent } from "./words.js";

const MAX_PICTURES = 24;
const [WIDTH, HEIGHT] = [960, 600];

export function CollectionMap({ name }) {
  const collections = useAsked(listCollections, []);
  return html`<h1>Map</h1>
    <${Asked} asked=${collections}>${(items) => {
      if (items.length === 0) return html`<${Notice}>There is no collection yet. <a href="#/teach">Teach</a> fills the first one.<//>`;
      const chosen = items.find((one) => one.name === name) ?? items[0];
      return html`<${Choice} label="Collection" value=${chosen.name}
          options=${items.map((one) => [one.name, `${one.name} (${count(one.scans, "scan")})`])} onChange=${(next) => go(`#/map/${next}`)} />
        <${Mapped} key=${chosen.name} collection=${chosen.name} />`;
    }}<//>`;
}

function Mapped({ collection }) {
  const [task, setTask] = useState("");
  const tasks = useAsked(async () => {
    const params = { path: { collection } };
    const { data } = await http.POST("/v1/collections/{collection}/facets", { params, body: {} });
    const names = Object.keys(data.labels);
    setTask(names[0] ?? "");
    return names;
  }, [collection]);
  const asked = useAsked(async () => {
    if (!tasks.value) return undefined;
    const params = { path: { collection } };
    const body = { limit: 20_000, ...(task ? { task } : {}) };
    return (await http.POST("/v1/collections/{collection}/map", { params, body })).data;
  }, [collection, task, tasks.value]);
  return html`${tasks.value?.length > 0 && html`<${Choice} label="Coloured by" value=${task} options=${tasks.value} empty="nothing" onChange=${setTask} />`}
    <${Failure} error=${tasks.error} />
    <${Asked} asked=${asked} waiting="Drawing the map">${(map) => html`<${Plane} key=${`${collection}/${task}/${map.total}`} map=${map}
      collection=${collection} task=${task} onLabelled=${asked.again} />`}<//>`;
}

function Plane({ map, collection, task, onLabelled }) {
  const colours = useMemo(() => coloursOf(map.labels), [map]);
  const [hidden, setHidden] = useState(new Set());
  const [isLasso, setLasso] = useState(false);
  const [selected, setSelected] = useState([]);
  const [pointed, setPointed] = useState(null);
  const isShown = (index) => !hidden.has(map.labels[index]);
  const choose = (indexes) => {
    setSelected(indexes);
    say(`${count(indexes.length, "scan")} selected.`);
  };
  const toggle = (label) => {
    const next = new Set(hidden);
    if (!next.delete(label)) next.add(label);
    setHidden(next);
  };
  const groups = [...colours.keys()].map((label) => [label, map.labels.filter((one) => one === label).length]);
  return html`<p class="quiet">${count(map.scan_ids.length, "scan")}${map.total > map.scan_ids.length ? ` drawn from ${map.total.toLocaleString("en")}` : ""}.
      The plane shows ${percent(map.explained[0] + map.explained[1])} of the differences: what is apart differs; what is close may still differ.</p>
    <div class="row">
      <button type="button" aria-pressed=${isLasso} class=${isLasso ? "primary" : ""} onClick=${() => setLasso(!isLasso)}>Select with a lasso</button>
      <span class="quiet">${isLasso ? "Draw around scans." : "Drag to move, turn the wheel to zoom, click a scan to see it."}</span>
    </div>
    <div class="map">
      <${Canvas} map=${map} colours=${colours} isShown=${isShown} isLasso=${isLasso} selected=${selected} onSelect=${choose} onPoint=${setPointed} />
      <ul class="legend">${groups.map(([label, number]) => html`<li key=${label}>
        <label class="check"><input type="checkbox" checked=${!hidden.has(label)} onChange=${() => toggle(label)} />
          <span class="swatch" style=${{ background: colours.get(label) }}></span>${label ?? "no label"} (${number})</label>
        <button type="button" onClick=${() => choose(indexesOf(map, label))} aria-label=${`Select all ${label ?? "without label"}`}>Select all</button></li>`)}</ul>
    </div>
    <p class="pointed">${pointed === null ? "\u00a0" : described(map, pointed)}</p>
    ${selected.length > 0 && html`<${Selection} map=${map} collection=${collection} task=${task} selected=${selected}
      onClear=${() => setSelected([])} onLabelled=${onLabelled} />`}`;
}

function indexesOf(map, label) {
  return map.labels.flatMap((one, index) => (one === label ? [index] : []));
}

function described(map, index) {
  const patient = map.subject_ids[index] ? `, patient ${map.subject_ids[index]}` : "";
  return `${map.scan_ids[index]}: ${map.labels[index] ?? "no label"}${patient}`;
}

function Canvas({ map, colours, isShown, isLasso, selected, onSelect, onPoint }) {
  const canvas = useRef(null);
  const [view, setView] = useState(() => fitted(map, WIDTH, HEIGHT));
  const [path, setPath] = useState([]);
  const drag = useRef(null);
  useEffect(() => drawMap(canvas.current, { map, colours, isShown, view, path, selected: new Set(selected) }));
  const at = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [((event.clientX - box.left) * WIDTH) / box.width, ((event.clientY - box.top) * HEIGHT) / box.height];
  };
  const press = (event) => {
    canvas.current.setPointerCapture(event.pointerId);
    drag.current = { from: at(event), view, hasMoved: false };
    if (isLasso) setPath([at(event)]);
  };
  const move = (event) => {
    const here = at(event);
    const held = drag.current;
    if (!held) return onPoint(nearestPoint(map, view, here, isShown));
    held.hasMoved ||= Math.hypot(here[0] - held.from[0], here[1] - held.from[1]) > 4;
    if (isLasso) return setPath([...path, here]);
    return setView({ ...held.view, x: held.view.x + here[0] - held.from[0], y: held.view.y + here[1] - held.from[1] });
  };
  const release = (event) => {
    const held = drag.current;
    drag.current = null;
    if (isLasso && path.length > 2) onSelect(inside(map, view, path, isShown));
    else if (held && !held.hasMoved) {
      const index = nearestPoint(map, view, at(event), isShown);
      onSelect(index === null ? [] : [index]);
    }
    setPath([]);
  };
  const zoom = (event) => {
    event.preventDefault();
    const [x, y] = at(event);
    const factor = Math.exp(-event.deltaY / 500);
    setView({ scale: view.scale * factor, x: x - (x - view.x) * factor, y: y - (y - view.y) * factor });
  };
  // Preact listens passively to wheels, which could not stop the page from scrolling.
  useEffect(() => {
    const element = canvas.current;
    element.addEventListener("wheel", zoom, { passive: false });
    return () => element.removeEventListener("wheel", zoom);
  });
  return html`<canvas ref=${canvas} width=${WIDTH} height=${HEIGHT} role="img"
    aria-label="The scans on a plane. The list beside it selects the scans of a class without a mouse."
    onPointerDown=${press} onPointerMove=${move} onPointerUp=${release} onPointerLeave=${() => onPoint(null)}></canvas>`;
}

function Selection({ map, collection, task, selected, onClear, onLabelled }) {
  const [label, setLabel] = useState("");
  const [progress, setProgress] = useState(null);
  const [before, setBefore] = useState(null);
  const classes = [...new Set(map.labels.filter((one) => one !== null))].sort();
  const store = async (changes) => {
    for (const [done, [scanId, value]] of changes.entries()) {
      setProgress({ done, total: changes.length });
      const params = { path: { collection, scan_id: scanId } };
      await http.PATCH("/v1/collections/{collection}/scans/{scan_id}", { params, body: { labels: { [task]: value } } });
    }
    setProgress(null);
  };
  const give = useAction(async () => {
    const changed = selected.filter((index) => map.labels[index] !== label.trim());
    await store(changed.map((index) => [map.scan_ids[index], label.trim()]));
    setBefore(changed.map((index) => [map.scan_ids[index], map.labels[index]]));
    say(`${count(changed.length, "scan")} labelled ${label.trim()}.`);
  });
  const undo = useAction(async () => {
    await store(before);
    setBefore(null);
    say("Undone.");
  });
  return html`<section aria-labelledby="selection"><h2 id="selection">${count(selected.length, "scan")} selected</h2>
    ${task && html`<form class="row" onSubmit=${(event) => {
        event.preventDefault();
        give.run();
      }}><${TextField} label=${`New label for “${task}”`} value=${label} list="map-classes" onInput=${setLabel} required />
        <datalist id="map-classes">${classes.map((one) => html`<option value=${one} />`)}</datalist>
        <button type="submit" class="primary" disabled=${give.busy || label.trim() === ""}>Label all ${selected.length}</button>
        <button type="button" onClick=${onClear}>Clear the selection</button></form>`}
    ${progress && html`<${Progress} label="Labelling" ...${progress} />`}
    <${Failure} error=${give.error ?? undo.error} />
    ${before && html`<${Notice} kind="good"><p>${count(before.length, "label")} stored.</p><div class="buttons">
      <button type="button" disabled=${undo.busy} onClick=${undo.run}>Undo</button>
      <button type="button" onClick=${onLabelled}>Draw the map anew</button></div><//>`}
    <div class="strip">${selected.slice(0, MAX_PICTURES).map((index) => html`<figure key=${map.scan_ids[index]}>
      <${Thumbnail} path=${thumbnailPath(collection, map.scan_ids[index])} alt=${map.labels[index] ?? "no label"} />
      <figcaption>${map.labels[index] ?? "no label"}<br />${map.scan_ids[index]}</figcaption></figure>`)}
      ${selected.length > MAX_PICTURES && html`<span class="quiet">and ${selected.length - MAX_PICTURES} more</span>`}</div>
  </section>`;
}
