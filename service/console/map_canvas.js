// Drawing and hit-testing of the map: up to 100,000 dots on a 2D canvas.
//
// Dots are written into an image of the canvas: a call of the canvas for each dot takes ten times as long.

// Okabe and Ito's colours, which colour-blind readers can tell apart; the last is for the rest.
const PALETTE = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2", "#ffffff"];
const OTHER = "#8a9aa3";
const UNLABELLED = "#5d6d76";
/** Most points of a map, and the side of each: few points are large enough to see. */
const DOTS_PX = [[500, 9], [5_000, 7], [40_000, 5], [Infinity, 3]];
const REACH_PX = 10;

/** Label -> colour, commonest labels first; null is "no label". */
export function coloursOf(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const named = [...counts.keys()].filter((label) => label !== null).sort((a, b) => counts.get(b) - counts.get(a));
  const colours = new Map(named.map((label, index) => [label, PALETTE[index] ?? OTHER]));
  if (counts.has(null)) colours.set(null, UNLABELLED);
  return colours;
}

/** {scale, x, y}: where a point of the map is on the canvas; the whole map fits. */
export function fitted(map, width, height) {
  if (map.x.length === 0) return { scale: 1, x: width / 2, y: height / 2 };
  const [left, right] = extent(map.x);
  const [bottom, top] = extent(map.y);
  const scale = 0.92 * Math.min(width / (right - left || 1), height / (top - bottom || 1));
  return { scale, x: width / 2 - (scale * (left + right)) / 2, y: height / 2 + (scale * (bottom + top)) / 2 };
}

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** Doubt in five steps, from calm to striking; each step is lighter, so that it reads without colour. */
const DOUBT_STEPS = [
  [0.2, "#31688e", "up to 20 %"],
  [0.4, "#35b779", "20 to 40 %"],
  [0.6, "#b5de2b", "40 to 60 %"],
  [0.8, "#fde725", "60 to 80 %"],
  [1.01, "#ffffff", "more than 80 %"],
];

/** [label of each point, label -> colour] of doubts. */
export function doubtGroups(doubts) {
  const labels = doubts.map((doubt) => DOUBT_STEPS.find(([end]) => doubt <= end)[2]);
  return [labels, new Map(DOUBT_STEPS.map(([, colour, name]) => [name, colour]))];
}

export function drawMap(canvas, { map, labels, colours, isShown, view, path, selected }) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const dot = DOTS_PX.find(([most]) => map.x.length <= most)[1];
  const reach = dot >> 1;
  const { order, inks } = arranged(labels, colours);
  for (const index of order) {
    const x = Math.round(view.x + view.scale * map.x[index]);
    const y = Math.round(view.y - view.scale * map.y[index]);
    if (x < reach || y < reach || x >= width - reach || y >= height - reach || !isShown(index)) continue;
    for (let row = (y - reach) * width + x; row <= (y + reach) * width + x; row += width) {
      for (let at = row - reach; at <= row + reach; at += 1) pixels[at] = inks[index];
    }
  }
  context.putImageData(image, 0, 0);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 1.5;
  context.beginPath();
  for (const index of selected) {
    const [x, y] = place(map, view, index);
    context.rect(x - dot, y - dot, 2 * dot, 2 * dot);
  }
  context.stroke();
  if (path.length > 1) {
    context.beginPath();
    path.forEach(([x, y], index) => (index === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
    context.closePath();
    context.stroke();
  }
}

const arrangements = new WeakMap();

/** The points in the order of drawing, and the pixel of each: common labels first, so that rare ones lie on top. */
function arranged(labels, colours) {
  if (!arrangements.has(labels)) {
    const groups = new Map([...colours.keys()].map((label) => [label, []]));
    labels.forEach((label, index) => groups.get(label).push(index));
    const inks = new Uint32Array(labels.length);
    for (const [label, colour] of colours) for (const index of groups.get(label)) inks[index] = inkOf(colour);
    arrangements.set(labels, { order: Uint32Array.from([...groups.values()].flat()), inks });
  }
  return arrangements.get(labels);
}

/** "#rrggbb" as a pixel of an image, opaque: red is the lowest byte. */
function inkOf(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function place(map, view, index) {
  return [view.x + view.scale * map.x[index], view.y - view.scale * map.y[index]];
}

/** The shown point nearest to a place on the canvas, if one is in reach; else null. */
export function nearestPoint(map, view, [x, y], isShown) {
  let [nearest, best] = [null, REACH_PX ** 2];
  for (let index = 0; index < map.x.length; index += 1) {
    const [px, py] = place(map, view, index);
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < best && isShown(index)) [nearest, best] = [index, distance];
  }
  return nearest;
}

/** Indexes of the shown points inside a closed path on the canvas, by crossings of a ray. */
export function inside(map, view, path, isShown) {
  const found = [];
  for (let index = 0; index < map.x.length; index += 1) {
    if (!isShown(index)) continue;
    const [x, y] = place(map, view, index);
    let isIn = false;
    for (let i = 0, j = path.length - 1; i < path.length; j = i, i += 1) {
      const [[xi, yi], [xj, yj]] = [path[i], path[j]];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isIn = !isIn;
    }
    if (isIn) found.push(index);
  }
  return found;
}
