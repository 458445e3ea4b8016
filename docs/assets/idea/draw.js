"use strict";
// Draws one panel on a canvas: the critic as shading, the data, the field, the paths and the
// actions. The colour of a method is that of its canvas in CSS, all else is the colour of text.
{
  const { guidedVelocity } = globalThis.methods;
  const CRITIC = "#009e73";

  // Where the path of Euler steps is at time t, and which of its points are behind it.
  function atTime(path, t) {
    const steps = path.length - 1;
    const k = Math.min(Math.floor(t * steps + 1e-9), steps - 1);
    const share = t * steps - k;
    const point = path[k].map((x, i) => x + share * (path[k + 1][i] - x));
    return { point, passed: path.slice(0, k + 1) };
  }

  // A canvas of the size that it is shown at, sharp on every screen, and what draws on it.
  function cleared(canvas) {
    const { width, height } = canvas.getBoundingClientRect();
    const ratio = globalThis.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const context = canvas.getContext("2d");
    context.scale(canvas.width / width, canvas.height / height);
    context.lineJoin = "round";
    const method = getComputedStyle(canvas).color;
    const text = getComputedStyle(canvas.closest("form")).color;
    return { context, width, height, method, text };
  }

  function stroke(context, color, alpha, width, points) {
    context.globalAlpha = alpha;
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  }

  function disc(context, color, alpha, [x, y], radius) {
    context.globalAlpha = alpha;
    context.fillStyle = color;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }

  // An arrow whose middle is at a point.
  function arrow(context, color, alpha, [x, y], [dx, dy]) {
    const [u, v] = [dx * 0.3, dy * 0.3];
    const [endX, endY] = [x + dx / 2, y + dy / 2];
    stroke(context, color, alpha, 1, [
      [x - dx / 2, y - dy / 2],
      [endX, endY],
    ]);
    stroke(context, color, alpha, 1, [
      [endX - u - v, endY - v + u],
      [endX, endY],
      [endX - u + v, endY - v - u],
    ]);
  }

  // The best action is a star, a false peak a cross; both have a rim, to be seen on dots.
  function mark(context, symbol, color, [x, y], size = 17) {
    context.globalAlpha = 1;
    context.font = `${size}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.strokeStyle = getComputedStyle(document.body).backgroundColor;
    context.fillStyle = color;
    context.strokeText(symbol, x, y);
    context.fillText(symbol, x, y);
  }

  // How opaque a value of the critic is: half of the most for the best action of one that is right.
  function shade(value) {
    const relative = Math.exp(0.5 * value);
    return (0.7 * relative) / (1 + relative);
  }

  function shading(context, critic, points, cell) {
    context.fillStyle = CRITIC;
    for (const [action, [x, y]] of points) {
      context.globalAlpha = shade(critic.value(action));
      context.fillRect(x, y, ...cell);
    }
  }

  function grid(count, low, high) {
    return Array.from({ length: count }, (_, i) => low + ((i + 0.5) * (high - low)) / count);
  }

  function plane(canvas, { problem, method, runs, t }) {
    const { context, width, height, method: color, text } = cleared(canvas);
    const { mixture, critic, span, peaks, falsePeak, best, steps } = problem;
    const scale = width / (2 * span);
    const place = ([x, y]) => [width / 2 + x * scale, height / 2 - y * scale];

    const cells = 80;
    const ticks = grid(cells, -span, span);
    const size = width / cells;
    const corner = (a) => place(a).map((x) => x - size / 2);
    const all = ticks.flatMap((x) => ticks.map((y) => [x, y]));
    // A little larger than they are apart: no seams.
    shading(context, critic, all.map((a) => [a, corner(a)]), [size, size]);
    for (const mode of mixture.modes)
      for (const deviations of [1, 2]) {
        const angles = grid(49, 0, 2 * Math.PI * (49 / 48));
        const ring = angles.map((b) => [
          mode[0] + deviations * mixture.std * Math.cos(b),
          mode[1] + deviations * mixture.std * Math.sin(b),
        ]);
        stroke(context, text, 0.6, 1, ring.map(place));
      }

    // The field that moves the actions now: that of the Euler step that t is in.
    const now = Math.min(Math.floor(t * steps + 1e-9), steps - 1) / steps;
    const marks = grid(11, -span, span);
    for (const a of marks.flatMap((x) => marks.map((y) => [x, y]))) {
      const [x, y] = guidedVelocity(problem, method, now, a);
      const speed = Math.hypot(x, y) + 1e-9;
      const length = ((width / 11) * 0.85 * speed) / (speed + 1.5) / speed;
      arrow(context, text, 0.4, place(a), [x * length, -y * length]);
    }

    const drawn = runs.map(({ path }) => atTime(path, t));
    for (const { point, passed } of drawn)
      stroke(context, color, 0.25, 1, [...passed, point].map(place));
    for (const { point } of drawn) disc(context, color, 0.75, place(point), 2.2);
    if (falsePeak) mark(context, "✖", text, place(peaks[falsePeak].at), 14);
    mark(context, "★", text, place(best));
  }

  function line(canvas, { problem, method, runs, t }) {
    const { context, width, height, method: color, text } = cleared(canvas);
    const { mixture, critic, span, peaks, falsePeak, best } = problem;
    // Time goes to the right; beyond it stands where the actions end.
    const end = width * 0.74;
    const place = (time, x) => [time * end, height / 2 - (x * height) / (2 * span)];

    const size = height / 120;
    const rows = grid(120, -span, span);
    shading(context, critic, rows.map((x) => [[x], [0, place(0, x)[1] - size / 2]]), [end, size]);

    for (const time of grid(10, 0, 1))
      for (const x of grid(13, -span, span)) {
        const [v] = guidedVelocity(problem, method, time, [x]);
        const [dx, dy] = [end, (-v * height) / (2 * span)];
        const length = (0.6 * (end / 10)) / Math.hypot(dx, dy);
        arrow(context, text, 0.4, place(time, x), [dx * length, dy * length]);
      }

    const drawn = runs.map(({ path }) => atTime(path, t));
    // Every second path: all of them would be one area.
    for (const { point, passed } of drawn.filter((_, i) => i % 2 === 0)) {
      const points = passed.map((a, k) => place(k / problem.steps, a[0]));
      stroke(context, color, 0.45, 0.8, [...points, place(t, point[0])]);
    }
    stroke(context, text, 0.8, 1, [place(t, -span), place(t, span)]);
    for (const { point } of drawn) disc(context, color, 0.75, place(t, point[0]), 2.2);

    histogram(context, { text, color, mixture, span, runs }, end, width - end, place);
    if (falsePeak) mark(context, "✖", text, [width - 10, place(0, peaks[falsePeak].at[0])[1]], 14);
    mark(context, "★", text, [width - 10, place(0, best[0])[1]]);
  }

  // The ends of all paths as bars, and the density of the data as a line.
  function histogram(context, { text, color, mixture, span, runs }, left, width, place) {
    const bins = 60;
    const counts = new Array(bins).fill(0);
    for (const { action } of runs) {
      const bin = Math.floor(((action[0] + span) / (2 * span)) * bins);
      if (bin >= 0 && bin < bins) counts[bin] += 1;
    }
    const most = Math.max(...counts, 1);
    const thickness = Math.abs(place(0, (2 * span) / bins)[1] - place(0, 0)[1]);
    context.globalAlpha = 0.75;
    context.fillStyle = color;
    grid(bins, -span, span).forEach((x, i) => {
      const length = (0.75 * width * counts[i]) / most;
      context.fillRect(left + 3, place(0, x)[1] - thickness / 2, length, thickness);
    });
    const outline = grid(200, -span, span).map((x) => {
      const density = mixture.modes.reduce(
        (sum, [mode]) => sum + Math.exp(-((x - mode) ** 2) / (2 * mixture.std ** 2)),
        0,
      );
      return [left + 3 + 0.4 * width * density, place(0, x)[1]];
    });
    stroke(context, text, 0.6, 1, outline);
    stroke(context, text, 0.3, 1, [place(1, -span), place(1, span)]);
  }

  globalThis.draw = { plane, line, atTime };
}
