// Drawing and hit-testing of the map: 20,000 dots on a 2D canvas.

// Okabe and Ito's colours, which colour-blind readers can tell apart; the last is for the rest.
const PALETTE = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2", "#ffffff"];
const OTHER = "#8a9aa3";
const UNLABELLED = "#5d6d76";
const DOT_PX = 5;
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

export function drawMap(canvas, { map, colours, isShown, view, path, selected }) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  // One colour after the other: changing the colour costs more than a dot.
  for (const [label, colour] of colours) {
    context.fillStyle = colour;
    for (let index = 0; index < map.x.length; index += 1) {
      if (map.labels[index] !== label || !isShown(index)) continue;
      const [x, y] = place(map, view, index);
      if (x < 0 || y < 0 || x > canvas.width || y > canvas.height) continue;
      context.fillRect(x - DOT_PX / 2, y - DOT_PX / 2, DOT_PX, DOT_PX);
    }
  }
  context.strokeStyle = "#ffffff";
  context.lineWidth = 1.5;
  for (const index of selected) {
    const [x, y] = place(map, view, index);
    context.strokeRect(x - DOT_PX, y - DOT_PX, 2 * DOT_PX, 2 * DOT_PX);
  }
  if (path.length > 1) {
    context.beginPath();
    path.forEach(([x, y], index) => (index === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
    context.closePath();
    context.stroke();
  }
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
