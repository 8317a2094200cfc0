// The page "Map": a collection on a plane, coloured by label, machine or doubt; a lasso selects scans.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ProblemError } from "sonoprobe-client";

import { Asked, Choice, Failure, Notice, Progress, html, useAction, useAsked } from "./elements.js";
import { coloursOf, doubtGroups, drawMap, fitted, inside, nearestPoint } from "./map_canvas.js";
import { Selection } from "./map_selection.js";
import { client, go, http, listClassifiers, listCollections, may, say } from "./session.js";
import { count, percent } from "./words.js";

const MAX_POINTS = 100_000;
/** What the button for scans without a group selects. */
const WITHOUT = { "no label": "without label", "machine not named": "machine not named", "all scans": "scans" };
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
  const [by, setBy] = useState(null);
  const [layout, setLayout] = useState("principal");
  const known = useAsked(async () => {
    const params = { path: { collection } };
    const [facets, classifiers] = await Promise.all([
      http.POST("/v1/collections/{collection}/facets", { params, body: {} }),
      may("classifier.read") ? listClassifiers() : [],
    ]);
    return { tasks: Object.keys(facets.data.labels), classifiers: classifiers.map((one) => one.name) };
  }, [collection]);
  const stored = useAsked(() => layoutOf(collection), [collection]);
  const chosen = by ?? (known.value?.tasks[0] ? `task:${known.value.tasks[0]}` : "");
  const [kind, ...rest] = chosen.split(":");
  const named = rest.join(":");
  const asked = useAsked(async () => {
    if (!known.value) return undefined;
    const params = { path: { collection } };
    // Doubts and machines are shown with the labels of the first task, so that a lasso can label.
    const task = kind === "task" ? named : known.value.tasks[0];
    const body = {
      limit: MAX_POINTS,
      layout,
      ...(task ? { task } : {}),
      ...(kind === "machine" ? { machines: true } : {}),
      ...(kind === "doubt" ? { classifier: named } : {}),
    };
    return { ...(await http.POST("/v1/collections/{collection}/map", { params, body })).data, task: task ?? "", kind };
  }, [collection, chosen, layout, known.value, stored.value?.placed_at]);
  return html`<div class="row">
      ${known.value && html`<${Choice} label="Coloured by" value=${chosen} empty="nothing" onChange=${setBy} options=${[
        ...known.value.tasks.map((task) => [`task:${task}`, `label: ${task}`]),
        ["machine:", "machine"],
        ...known.value.classifiers.map((name) => [`doubt:${name}`, `doubt of ${name}`]),
      ]} />`}
      <${Choice} label="Laid out by" value=${layout} onChange=${setLayout} options=${[
        ["principal", "largest differences"],
        ...(stored.value ? [["neighbours", "neighbours together"]] : []),
      ]} />
    </div>
    <${LayingOut} collection=${collection} stored=${stored} onEnd=${() => {
      stored.again();
      setLayout("neighbours");
    }} />
    <${Failure} error=${known.error} />
    <${Asked} asked=${asked} waiting="Drawing the map">${(map) => map && html`<${Plane} key=${`${collection}/${map.kind}/${map.task}/${map.layout}/${map.total}/${map.placed_at}`} map=${map}
      collection=${collection} onLabelled=${asked.again} />`}<//>`;
}

/** The stored layout of a collection; null if it has none. */
async function layoutOf(collection) {
  try {
    return (await http.GET("/v1/collections/{collection}/layout", { params: { path: { collection } } })).data;
  } catch (error) {
    if (error instanceof ProblemError && error.code === "unknown_item") return null;
    throw error;
  }
}

/** Makes the better layout, which takes a while and goes on if the page is left. */
function LayingOut({ collection, stored, onEnd }) {
  const [progress, setProgress] = useState(null);
  const make = useAction(async () => {
    const { data } = await http.POST("/v1/collections/{collection}/layout", { params: { path: { collection } } });
    setProgress(data.progress);
    await client.waitFor(data.operation_id, { onProgress: (operation) => setProgress(operation.progress), pollS: 0.5 });
    say("The layout is ready.");
    onEnd();
  });
  if (stored.error || stored.busy || !may("collection.write", "operation.read")) return html`<${Failure} error=${stored.error} />`;
  const later = stored.value ? stored.value.scans - stored.value.placed : 0;
  return html`${!make.busy && html`<div class="row"><span class="quiet">
      ${stored.value === null ? "A layout that puts what resembles each other side by side takes from seconds to a few minutes." : ""}
      ${later > 0 ? `${count(later, "scan")} came after the layout and ${later === 1 ? "has" : "have"} no place on it.` : ""}</span>
      ${(stored.value === null || later > 0) && html` <button type="button" onClick=${make.run}>Lay out by neighbours</button>`}</div>`}
    ${make.busy && html`<${Progress} label="Laying out" done=${progress?.total ? Math.round((100 * progress.done) / progress.total) : 0} total=${100} />
      <p class="quiet">You may leave this page; the work goes on. “Data” shows it under “Operations”.</p>`}
    <${Failure} error=${make.error} />`;
}

function groupsOf(map, kind) {
  if (kind === "doubt") return doubtGroups(map.doubts);
  const labels = kind === "machine" ? map.machines : kind === "task" ? map.labels : map.scan_ids.map(() => null);
  return [labels, coloursOf(labels)];
}

function Plane({ map, collection, onLabelled }) {
  const { kind } = map;
  const [labels, colours] = useMemo(() => groupsOf(map, kind), [map]);
  const [hidden, setHidden] = useState(new Set());
  const [isLasso, setLasso] = useState(false);
  const [selected, setSelected] = useState([]);
  const [pointed, setPointed] = useState(null);
  const isShown = (index) => !hidden.has(labels[index]);
  const none = kind === "machine" ? "machine not named" : kind === "" ? "all scans" : "no label";
  const choose = (indexes) => {
    setSelected(indexes);
    say(`${count(indexes.length, "scan")} selected.`);
  };
  const toggle = (label) => {
    const next = new Set(hidden);
    if (!next.delete(label)) next.add(label);
    setHidden(next);
  };
  const sizes = useMemo(() => {
    const counts = new Map();
    for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
    return counts;
  }, [labels]);
  return html`<p class="quiet">${count(map.scan_ids.length, "scan")}${map.total > map.scan_ids.length ? ` drawn from ${map.total.toLocaleString("en")}` : ""}.
      ${" "}${meaning(map)}</p>
    ${kind === "doubt" && html`<p class="quiet">Doubt: of an example, how improbable its own label is to a classifier that had not seen it; of another scan, how far it is from a certain answer.</p>`}
    <div class="row">
      <button type="button" aria-pressed=${isLasso} class=${isLasso ? "primary" : ""} onClick=${() => setLasso(!isLasso)}>Select with a lasso</button>
      <span class="quiet">${isLasso ? "Draw around scans." : "Drag to move, turn the wheel to zoom, click a scan to see it."}</span>
    </div>
    <div class="map">
      <${Canvas} map=${map} labels=${labels} colours=${colours} isShown=${isShown} isLasso=${isLasso} selected=${selected} onSelect=${choose} onPoint=${setPointed} />
      <ul class="legend">${[...colours.keys()].filter((label) => sizes.has(label)).map((label) => html`<li key=${label}>
        <label class="check"><input type="checkbox" checked=${!hidden.has(label)} onChange=${() => toggle(label)} />
          <span class="swatch" style=${{ background: colours.get(label) }}></span>${label ?? none} (${sizes.get(label)})</label>
        <button type="button" onClick=${() => choose(indexesOf(labels, label))} aria-label=${`Select all ${label ?? WITHOUT[none]}`}>Select all</button></li>`)}</ul>
    </div>
    <p class="pointed">${pointed === null ? "\u00a0" : described(map, pointed)}</p>
    ${selected.length > 0 && html`<${Selection} map=${map} collection=${collection} task=${map.task} selected=${selected}
      onClear=${() => setSelected([])} onLabelled=${onLabelled} />`}`;
}

/** What nearness on the map says, and what it does not. */
function meaning(map) {
  if (map.layout === "principal") {
    return `The plane shows ${percent(map.explained[0] + map.explained[1])} of the differences: what is apart differs; what is close may still differ.`;
  }
  return `Of the nearest neighbours of a scan, ${percent(map.kept)} are its nearest on the map too. Distances between groups mean little.`;
}

function indexesOf(labels, label) {
  return labels.flatMap((one, index) => (one === label ? [index] : []));
}

function described(map, index) {
  const parts = [map.labels[index] ?? "no label"];
  if (map.subject_ids[index]) parts.push(`patient ${map.subject_ids[index]}`);
  if (map.machines?.[index]) parts.push(map.machines[index]);
  if (map.doubts) parts.push(`doubt ${percent(map.doubts[index])}`);
  return `${map.scan_ids[index]}: ${parts.join(", ")}`;
}

function Canvas({ map, labels, colours, isShown, isLasso, selected, onSelect, onPoint }) {
  const canvas = useRef(null);
  const [view, setView] = useState(() => fitted(map, WIDTH, HEIGHT));
  const [path, setPath] = useState([]);
  const drag = useRef(null);
  useEffect(() => drawMap(canvas.current, { map, labels, colours, isShown, view, path, selected: new Set(selected) }));
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
