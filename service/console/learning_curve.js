// The learning curve of a forecast: balanced accuracy by patients per class, measured and expected.
import { html } from "./elements.js";
import { percent } from "./words.js";

const [WIDTH, HEIGHT] = [460, 220];
const MARGIN = { left: 52, right: 16, top: 12, bottom: 40 };

/** `now`: patients of the smallest class today. */
export function LearningCurve({ forecast, now: patients }) {
  const points = forecast.curve.map((one) => [one.groups_per_class, one.balanced_accuracy]);
  if (points.length < 2) return null;
  // The expected gain belongs to a curve fitted through the points, which need not meet the last.
  const now = [patients, forecast.now ?? points.at(-1)[1]];
  const range = forecast.gain_90;
  const later = forecast.with_more === null ? null : [now[0] + forecast.more_groups_per_class, forecast.with_more];
  const xs = [...points, ...(later ? [now, later] : [])].map(([x]) => x);
  const ends = range && later ? range.map((gain) => now[1] + gain) : [];
  const ys = [...points.map(([, y]) => y), ...(later ? [now[1], later[1]] : []), ...ends];
  const [low, high] = [Math.max(0, Math.min(...ys) - 0.05), Math.min(1, Math.max(...ys) + 0.05)];
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const x = (value) => MARGIN.left + ((value - first) / (last - first || 1)) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (value) => HEIGHT - MARGIN.bottom - ((value - low) / (high - low || 1)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const line = points.map(([a, b]) => `${x(a)},${y(b)}`).join(" ");
  return html`<figure class="plot">
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${described(points, later)}>
      ${[low, (low + high) / 2, high].map((value) => html`<g key=${value}>
        <line class="grid" x1=${MARGIN.left} x2=${WIDTH - MARGIN.right} y1=${y(value)} y2=${y(value)} />
        <text x=${MARGIN.left - 6} y=${y(value) + 4} text-anchor="end">${percent(value)}</text></g>`)}
      ${[...new Set(xs)].map((value) => html`<text key=${value} x=${x(value)} y=${HEIGHT - MARGIN.bottom + 16} text-anchor="middle">${Math.round(value)}</text>`)}
      <text x=${WIDTH / 2} y=${HEIGHT - 4} text-anchor="middle">patients per class</text>
      <polyline class="curve" points=${line} />
      ${points.map(([a, b]) => html`<circle key=${a} class="dot" cx=${x(a)} cy=${y(b)} r="3.5" />`)}
      ${later && html`<line class="expected" x1=${x(now[0])} y1=${y(now[1])} x2=${x(later[0])} y2=${y(later[1])} />
        ${ends.length === 2 && html`<line class="range" x1=${x(later[0])} x2=${x(later[0])} y1=${y(ends[0])} y2=${y(ends[1])} />`}
        <circle class="dot later" cx=${x(later[0])} cy=${y(later[1])} r="3.5" />`}
    </svg>
    <figcaption>Dots: measured with a part of the patients. Dashed: what a curve through them expects of
      ${" "}${forecast.more_groups_per_class} more patients per class, with the 90 % range of the gain.</figcaption>
  </figure>`;
}

function described(points, later) {
  const [from, to] = [points[0], points.at(-1)];
  const so_far = `From ${percent(from[1])} with ${from[0]} patients per class to ${percent(to[1])} with ${to[0]}`;
  return later ? `${so_far}; expected ${percent(later[1])} with ${later[0]}.` : `${so_far}.`;
}
