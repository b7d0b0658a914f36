// SPDX-License-Identifier: GPL-2.0-or-later
// Draws the family tree from the data in the page. Names come from disk images and are hostile:
// they enter the page as text nodes and attributes only, never as markup.
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const { images, leaves, joins, families, plan } = data;
  const byId = (id) => document.getElementById(id);
  const SVG = 'http://www.w3.org/2000/svg';
  const HEAD = 26; // pixels of a table's head; its rows are as high as the style says
  const LARGE = 1000; // leaves that a family shows at once
  const rowHeight = () => parseFloat(
    getComputedStyle(document.documentElement).getPropertyValue('--row'));

  // ---- small tools ----

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {}))
      if (value !== null && value !== undefined && value !== false)
        node.setAttribute(name, value === true ? '' : value);
    for (const child of children.flat())
      if (child !== null && child !== undefined) node.append(child);
    return node;
  }
  const el = (tag, attributes, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

  // At most four significant digits, as in the text.
  function size(bytes) {
    if (bytes < 1024) return bytes + ' B';
    const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
    let unit = -1;
    do {
      bytes /= 1024;
      unit++;
    } while (bytes >= 1024 && unit < 5);
    return +bytes.toFixed(bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2) + ' ' + units[unit];
  }
  function percent(part) {
    if (part >= 1) return '100%';
    if (part >= .99) return (Math.floor(part * 1000) / 10).toFixed(1) + '%';
    if (part >= .01) return Math.round(part * 100) + '%';
    return part > 0 ? '<1%' : '0%';
  }
  const share = (shared, different) => shared + different === 0 ? 1 : shared / (shared + different);
  const sum = (list, value) => list.reduce((total, item) => total + value(item), 0);
  const count = (n, what) => n + ' ' + what + (n === 1 ? '' : 's');
  const name = (text) => el('bdi', {}, text);
  // a name that loses its start where it is too long: the ends of paths tell them apart
  const fitted = (text) => el('span', { class: 'name' }, el('bdi', { dir: 'ltr' }, text));
  const hue = (i) => 'var(--f' + i % 8 + ')';
  const total = sum(images, (i) => i.allocated_bytes);
  const related = families.filter((f) => f.leaves > 1);
  const alone = families.filter((f) => f.leaves === 1);

  // ---- the head ----

  function tile(value, label, good) {
    return el('div', { class: good ? 'tile good' : 'tile' }, el('b', {}, value),
      el('span', {}, label));
  }
  function drawHead() {
    const tiles = [tile(String(images.length), images.length === 1 ? 'image' : 'images'),
      tile(size(total), 'on disk now')];
    if (plan) {
      tiles.push(tile(size(Math.max(0, total - data.saves_bytes)), 'as overlays'),
        tile(size(data.saves_bytes), 'would be saved' +
          (total ? ' (' + percent(Math.min(1, data.saves_bytes / total)) + ')' : ''), true));
    } else {
      tiles.push(tile(String(related.length), related.length === 1 ? 'family' : 'families'),
        tile(String(alone.length), 'unrelated'));
    }
    byId('tiles').append(...tiles);
    for (const [list, what] of [[data.errors, 'error'], [data.warnings, 'warning']])
      if (list.length)
        byId('problems').append(el('details', {}, el('summary', {}, count(list.length, what)),
          el('ul', {}, list.map((p) => el('li', {}, name(p.path), ': ', p.message)))));
  }

  // ---- the tree ----

  const nLeaves = leaves.length;
  const folded = new Set();
  const views = []; // one for each family: { draw }
  let sought = '';
  const deepest = Math.max(65536, ...related.map((f) => joins[f.root - nLeaves].different));
  const scale = (different) => Math.log2(1 + different / 65536) / Math.log2(1 + deepest / 65536);

  // Of each node: whether a leaf below it is sought.
  const hits = new Uint8Array(nLeaves + joins.length);
  function seek() {
    for (let leaf = 0; leaf < nLeaves; leaf++)
      hits[leaf] = sought !== '' && (leaves[leaf].name.toLowerCase().includes(sought) ||
        leafImages(leaf).some((i) => i.path.toLowerCase().includes(sought)));
    joins.forEach((j, i) => { hits[nLeaves + i] = j.children.some((c) => hits[c]); });
  }
  function leafImages(leaf) {
    return images.slice(leaves[leaf].first, leaves[leaf].first + leaves[leaf].count);
  }
  function below(node) {
    const out = [], stack = [node];
    while (stack.length) {
      const at = stack.pop();
      if (at < nLeaves) out.push(at);
      else for (let c = joins[at - nLeaves].children.length; c--;)
        stack.push(joins[at - nLeaves].children[c]);
    }
    return out;
  }

  // The visible rows of a family, and the joins among them, a join before its children.
  function layout(root) {
    const rows = [], open = [], y = new Map(), stack = [[root, null]], height = rowHeight();
    while (stack.length) {
      const [node, seam] = stack.pop();
      if (node < nLeaves || folded.has(node)) {
        y.set(node, HEAD + (rows.length + .5) * height);
        rows.push({ node, seam });
        continue;
      }
      const { children } = joins[node - nLeaves];
      open.push(node);
      for (let c = children.length; c--;) stack.push([children[c], c ? node : seam]);
    }
    for (let i = open.length; i--;) {
      const { children } = joins[open[i] - nLeaves];
      y.set(open[i], (y.get(children[0]) + y.get(children[children.length - 1])) / 2);
    }
    return { rows, open, y, height: HEAD + rows.length * height };
  }

  function joinTitle(node) {
    const j = joins[node - nLeaves];
    return (j.different ? size(j.different) + ' different, ' + percent(share(j.shared, j.different)) +
      ' shared' : 'identical') + ', ' + j.leaves + ' images';
  }

  function joinKnob(node, x, y, toggle) {
    const knob = svg('g', { class: 'join', tabindex: 0, role: 'button', 'data-node': node,
      'aria-expanded': String(!folded.has(node)), 'aria-label': joinTitle(node) },
    svg('title', {}, joinTitle(node)),
    svg('circle', { class: 'reach', cx: x, cy: y, r: 11 }), svg('circle', { cx: x, cy: y, r: 3.6 }));
    knob.addEventListener('click', () => toggle(node));
    knob.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      toggle(node);
    });
    return knob;
  }

  function drawTicks(out, x, height, width) {
    const steps = [];
    for (let bytes = 1 << 20; bytes <= deepest; bytes *= 32) steps.push(bytes);
    steps.forEach((bytes, i) => {
      out.append(svg('path', { class: 'tick', d: `M${x(bytes)} ${HEAD - 4}V${height}` }));
      if (x(bytes) > 20 && x(bytes) < width - 20)
        out.append(svg('text', { x: x(bytes), y: HEAD - 10,
          class: i % 2 || steps.length === 1 ? 'major' : 'minor' }, size(bytes)));
    });
  }

  function drawBrackets(box, { rows, open, y, height }, toggle) {
    const width = Math.max(80, box.clientWidth || 300);
    const right = width - 6, left = 12;
    const x = (different) => +(right - scale(different) * (right - left)).toFixed(1);
    const at = (node) => node < nLeaves ? x(0) : x(joins[node - nLeaves].different);
    const out = svg('svg', { viewBox: `0 0 ${width} ${height}`, height, role: 'group',
      preserveAspectRatio: 'none', 'aria-label': 'Brackets of the family' });
    drawTicks(out, x, height, width);
    for (const node of open) {
      const { children } = joins[node - nLeaves];
      const first = y.get(children[0]), last = y.get(children[children.length - 1]);
      out.append(svg('path', { d: `M${at(node)} ${first}V${last}` +
        children.map((c) => `M${at(node)} ${y.get(c)}H${at(c)}`).join('') }));
    }
    for (const { node } of rows)
      if (node >= nLeaves)
        out.append(svg('path', { class: 'folded', d: `M${at(node)} ${y.get(node)}L${right} ` +
          `${y.get(node) - 8}V${y.get(node) + 8}Z` }));
    for (const node of [...open, ...rows.map((r) => r.node).filter((n) => n >= nLeaves)])
      out.append(joinKnob(node, at(node), y.get(node), toggle));
    return out;
  }

  function marks(leaf) {
    const of = leafImages(leaf), out = [];
    if (of.some((i) => i.in_use)) out.push(el('span', { class: 'mark use' }, 'in use'));
    if (of.length === 1) {
      if (of[0].guest) out.push(el('span', { class: 'mark' }, name(of[0].guest)));
      if (of[0].backing !== null)
        out.push(el('span', { class: 'mark' }, 'on ', name(images[of[0].backing].name)));
      else if (of[0].backing_path)
        out.push(el('span', { class: 'mark' }, 'on ', name(of[0].backing_path)));
    }
    return out;
  }

  function nameCell(node, toggle) {
    if (node < nLeaves)
      return el('td', { title: leafImages(node).map((i) => i.path).join('\n') },
        fitted(leaves[node].name), marks(node));
    const open = el('button', { type: 'button', class: 'link' },
      count(joins[node - nLeaves].leaves, 'image'));
    open.addEventListener('click', () => toggle(node));
    return el('td', {}, open, el('span', { class: 'mark' }, 'with ',
      name(leaves[below(node)[0]].name)));
  }

  function drawRow({ node, seam }, toggle) {
    const within = below(node);
    const data_bytes = sum(within, (l) => sum(leafImages(l), (i) => i.data_bytes));
    const cells = [nameCell(node, toggle), el('td', { class: 'n data' }, size(data_bytes))];
    if (seam === null) {
      cells.push(el('td', { class: 'n' }), el('td', { class: 'n shared' }));
    } else {
      const { different, shared } = joins[seam - nLeaves];
      const part = share(shared, different), meter = el('i');
      meter.style.width = part * 100 + '%';
      cells.push(el('td', { class: 'n' }, different ? size(different) : 'identical'),
        el('td', { class: 'n shared' }, el('span', { class: 'meter', 'aria-hidden': 'true' }, meter),
        el('span', { class: 'part' }, percent(part))));
    }
    return el('tr', { class: sought === '' ? null : hits[node] ? 'hit' : 'miss' }, cells);
  }

  function familyView(family, index) {
    const brackets = el('div'), table = el('table');
    const kin = el('div', { class: 'kin' }, brackets, table);
    const card = el('article', { class: 'card' }, el('div', { class: 'head' },
      el('span', { class: 'swatch' }), el('h3', {}, 'Family ' + (index + 1)),
      el('span', { class: 'what' }, count(family.images, 'image') + ', ' + size(family.bytes)),
      family.saves ? el('span', { class: 'saves' }, 'saves ' + size(family.saves)) : null), kin);
    brackets.style.color = card.querySelector('.swatch').style.color = hue(index);
    function toggle(node) {
      if (!folded.delete(node)) folded.add(node);
      draw();
      const knob = brackets.querySelector(`[data-node="${node}"]`);
      if (knob) knob.focus({ preventScroll: true });
    }
    function draw() {
      const shape = layout(family.root);
      table.replaceChildren(
        el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Image'),
          el('th', { scope: 'col', class: 'n data' }, 'Data'),
          el('th', { scope: 'col', class: 'n', title: 'from the images above it on its bracket' },
            'Different'),
          el('th', { scope: 'col', class: 'n shared' }, 'Shared'))),
        el('tbody', {}, shape.rows.map((row) => drawRow(row, toggle))));
      for (const meter of table.querySelectorAll('.meter')) meter.style.color = hue(index);
      brackets.replaceChildren(drawBrackets(brackets, shape, toggle));
    }
    byId('families').append(card);
    draw();
    return { draw, family };
  }

  function drawAlone() {
    const list = el('ul', { class: 'alone' });
    const draw = () => list.replaceChildren(...alone.map(({ root, bytes }) =>
      el('li', { class: sought === '' ? null : hits[root] ? 'hit' : 'miss' },
        fill(fitted(leaves[root].name), { title: leafImages(root).map((i) => i.path).join('\n') },
          []),
        leafImages(root).some((i) => i.in_use) ? el('span', {}, 'in use') : null,
        el('span', {}, size(bytes)))));
    byId('families').append(el('article', { class: 'card' }, el('div', { class: 'head' },
      el('h3', {}, 'Unrelated'), el('span', { class: 'what' },
        count(alone.length, 'disk') + ', ' + size(sum(alone, (f) => f.bytes)))), list));
    draw();
    views.push({ draw });
  }

  function search() {
    sought = byId('search').value.trim().toLowerCase();
    seek();
    const found = hits.subarray(0, nLeaves).reduce((total, hit) => total + hit, 0);
    // what was folded shows itself when it holds a match
    for (const node of [...folded]) if (hits[node]) folded.delete(node);
    for (const view of views) view.draw();
    byId('found').textContent = sought === '' ? '' : count(found, 'match').replace(/hs$/, 'hes');
  }

  // A large family shows its largest distances first; the rest unfolds by hand.
  function foldLarge({ root, leaves: n }) {
    if (n <= LARGE) return;
    const inside = [], stack = [root];
    while (stack.length) {
      const node = stack.pop();
      if (node < nLeaves) continue;
      inside.push(node);
      stack.push(...joins[node - nLeaves].children);
    }
    // a join stands after its children, so at equal distances the upper one stays open
    inside.sort((a, b) => joins[b - nLeaves].different - joins[a - nLeaves].different || b - a);
    for (const node of inside.slice(LARGE / 2)) folded.add(node);
  }

  function drawTree() {
    related.forEach(foldLarge);
    if (!images.length)
      byId('families').append(el('p', { class: 'card empty' }, 'No images.'));
    related.forEach((family, i) => views.push(familyView(family, i)));
    if (alone.length) drawAlone();
    byId('search').addEventListener('input', search);
    byId('search').addEventListener('keydown', (event) => {
      const hit = event.key === 'Enter' && document.querySelector('tr.hit, li.hit');
      if (hit) hit.scrollIntoView({ block: 'center' });
    });
    byId('fold').addEventListener('click', () => {
      for (const { root } of related) folded.add(root);
      for (const view of views) view.draw();
    });
    byId('unfold').addEventListener('click', () => {
      folded.clear();
      for (const view of views) view.draw();
    });
    let width = innerWidth;
    addEventListener('resize', () => {
      if (innerWidth === width) return;
      width = innerWidth;
      for (const view of views) view.draw();
    });
  }

  // ---- the matrix ----

  // From nothing shared to all: light to dark, and readable without colours.
  const stops = [[243, 246, 248], [198, 221, 236], [110, 174, 214], [33, 113, 181], [8, 48, 107]];
  const stopsDark = [[28, 33, 38], [22, 58, 92], [33, 104, 160], [92, 170, 222], [214, 238, 255]];
  const darkMode = matchMedia('(prefers-color-scheme: dark)');
  function shade(part) {
    const list = darkMode.matches ? stopsDark : stops, at = part * (list.length - 1);
    const low = Math.min(list.length - 2, Math.floor(at));
    return list[low].map((c, i) => Math.round(c + (list[low + 1][i] - c) * (at - low)));
  }
  function pair(matrix, i, j) {
    return i >= j ? matrix[i][j] : matrix[j][i];
  }

  function drawMatrix() {
    const box = byId('matrix-box');
    if (!data.different || images.length < 2) {
      byId('matrix-tools').hidden = true;
      byId('matrix-tools').style.display = 'none';
      box.append(el('p', { class: 'card empty' }, images.length < 2 ?
        'Two images make a matrix.' :
        'The matrix was left out for this many images; --matrix adds it.'));
      return;
    }
    const order = families.flatMap((f) => below(f.root)).flatMap((leaf) =>
      Array.from({ length: leaves[leaf].count }, (_, i) => leaves[leaf].first + i));
    const n = order.length, pixels = el('canvas', { width: n, height: n });
    const canvas = el('canvas', { tabindex: 0, role: 'img',
      'aria-label': 'How much every two images share; the arrow keys move from pair to pair' });
    const cursor = el('div', { class: 'cursor', hidden: true });
    const frame = el('div', { class: 'matrix-scroll' }, el('div', {}, canvas, cursor));
    const told = el('div', { class: 'pair', role: 'status' });
    const bounds = families.map((f) => f.images);
    let cell = 1, labels = 0, at = [0, 0];
    box.append(el('div', { class: 'card' }, frame, told));

    function paintPixels() {
      const context = pixels.getContext('2d'), out = context.createImageData(n, n);
      for (let r = 0; r < n; r++)
        for (let c = 0; c < n; c++) {
          const i = order[r], j = order[c];
          const [red, green, blue] = shade(i === j ? 1 :
            share(pair(data.shared, i, j), pair(data.different, i, j)));
          out.data.set([red, green, blue, 255], 4 * (r * n + c));
        }
      context.putImageData(out, 0, 0);
      const ramp = byId('ramp').getContext('2d');
      for (let x = 0; x < 96; x++) {
        ramp.fillStyle = 'rgb(' + shade(x / 95).join(',') + ')';
        ramp.fillRect(x, 0, 1, 10);
      }
    }
    function labelWidth(context) {
      context.font = Math.min(12, cell - 2) + 'px system-ui, sans-serif';
      return Math.min(220, Math.ceil(Math.max(...images.map((i) =>
        context.measureText(i.name).width)))) + 10;
    }
    function paint() {
      const style = getComputedStyle(document.documentElement);
      const context = canvas.getContext('2d'), side = n * cell;
      const ratio = side > 2400 ? 1 : Math.min(2, devicePixelRatio || 1);
      labels = cell >= 11 ? labelWidth(context) : 0;
      canvas.width = (side + labels) * ratio;
      canvas.height = side * ratio;
      canvas.style.width = side + labels + 'px';
      canvas.style.height = side + 'px';
      context.scale(ratio, ratio);
      context.imageSmoothingEnabled = false;
      context.drawImage(pixels, labels, 0, side, side);
      context.fillStyle = style.getPropertyValue('--ink');
      context.font = Math.min(12, cell - 2) + 'px system-ui, sans-serif';
      context.textAlign = 'right';
      context.textBaseline = 'middle';
      for (let r = 0; labels && r < n; r++) {
        let text = images[order[r]].name;
        while (text.length > 4 && context.measureText(text).width > labels - 8)
          text = '…' + text.slice(text[0] === '…' ? 2 : 1);
        context.fillText(text, labels - 6, (r + .5) * cell);
      }
      context.strokeStyle = style.getPropertyValue('--card');
      context.lineWidth = cell > 4 ? 2 : 1;
      // lines between families, while the cells are not lost below them
      let edge = 0;
      for (const of of cell > 1 ? bounds : []) {
        edge += of;
        if (of === 1 || edge === n) continue;
        context.beginPath();
        context.moveTo(labels + edge * cell, 0);
        context.lineTo(labels + edge * cell, side);
        context.moveTo(labels, edge * cell);
        context.lineTo(labels + side, edge * cell);
        context.stroke();
      }
    }
    function mark() {
      const most = Math.max(cell, 5) + 4, [r, c] = at;
      cursor.hidden = false;
      cursor.style.width = cursor.style.height = most + 'px';
      cursor.style.left = labels + (c + .5) * cell - most / 2 + 'px';
      cursor.style.top = (r + .5) * cell - most / 2 + 'px';
      tell();
    }
    function tell() {
      const [i, j] = [order[at[0]], order[at[1]]];
      const different = i === j ? 0 : pair(data.different, i, j), shared = pair(data.shared, i, j);
      told.replaceChildren(name(images[i].name), el('span', { class: 'soft' }, ' and '),
        name(images[j].name), el('br'),
        i === j ? size(images[i].data_bytes) + ' of data' : different === 0 ? 'identical' :
          size(different) + ' different, ' + percent(share(shared, different)) + ' shared (' +
          size(shared) + ')');
    }
    function point(event) {
      const where = canvas.getBoundingClientRect();
      const c = Math.floor((event.clientX - where.left - labels) / cell);
      const r = Math.floor((event.clientY - where.top) / cell);
      if (r < 0 || c < 0 || r >= n || c >= n || (!cursor.hidden && r === at[0] && c === at[1]))
        return;
      at = [r, c];
      mark();
    }
    canvas.addEventListener('pointermove', point);
    canvas.addEventListener('pointerdown', point);
    canvas.addEventListener('keydown', (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (!step[event.key]) return;
      event.preventDefault();
      at = at.map((v, i) => Math.min(n - 1, Math.max(0, v + step[event.key][i])));
      mark();
      frame.scrollTo({ left: labels + at[1] * cell - frame.clientWidth / 2,
        top: at[0] * cell - frame.clientHeight / 2 });
    });
    const zoom = (factor) => () => {
      cell = Math.max(1, Math.min(40, Math.max(1, Math.floor(4800 / n)), factor > 1 ?
        Math.ceil(cell * factor) : Math.floor(cell * factor)));
      paint();
      if (!cursor.hidden) mark();
    };
    byId('larger').addEventListener('click', zoom(1.5));
    byId('smaller').addEventListener('click', zoom(1 / 1.5));
    darkMode.addEventListener('change', () => {
      paintPixels();
      paint();
    });
    const room = Math.max(120, frame.clientWidth - 28);
    cell = Math.max(1, Math.min(22, Math.floor(room / n)));
    if (cell >= 11) cell = Math.max(8, Math.min(22, Math.floor((room - labelWidth(
      canvas.getContext('2d'))) / n)));
    paintPixels();
    paint();
    told.append(el('span', { class: 'soft' },
      'Point at a cell, or move with the arrow keys, to see the pair.'));
  }

  // ---- the savings ----

  function drawBars() {
    const most = Math.max(1, ...families.map((f) => f.bytes)), box = el('div', { class: 'bars' });
    const shown = related.map((f, i) => [f, 'Family ' + (i + 1), hue(i)]);
    if (alone.length)
      shown.push([{ bytes: sum(alone, (f) => f.bytes), saves: sum(alone, (f) => f.saves) },
        'Unrelated', 'var(--soft)']);
    const widest = Math.max(most, ...shown.map(([f]) => f.bytes));
    for (const [family, title, colour] of shown) {
      const now = el('div', { class: 'now' }), then = el('div', { class: 'then' });
      now.style.width = 100 * family.bytes / widest + '%';
      then.style.width = 100 * Math.max(0, family.bytes - family.saves) / widest + '%';
      then.style.color = colour;
      box.append(el('span', {}, title), el('div', { class: 'track', 'aria-hidden': 'true' }, now, then),
        el('span', { class: 'figure' }, size(family.bytes), el('span', { class: 'soft' }, ' now, '),
          size(Math.max(0, family.bytes - family.saves)), el('span', { class: 'soft' }, ' planned')));
    }
    return box;
  }

  const actions = { root: 'stays whole', keep: 'is an overlay already', fixed: 'is left alone' };
  function planRow([image, step]) {
    const what = step.action === 'rebase' ? ['overlay of ', name(images[step.backing].name)] :
      [el('span', { class: 'soft' }, actions[step.action] +
        (step.action === 'fixed' && image.fixed ? ': ' + image.fixed : ''))];
    return el('tr', {}, el('td', { title: image.path }, fitted(image.name)), el('td', {}, what),
      el('td', { class: 'n' }, size(image.allocated_bytes)),
      el('td', { class: 'n' }, size(step.overlay_bytes)),
      el('td', { class: step.saves_bytes ? 'n save' : 'n soft' },
        step.saves_bytes ? size(step.saves_bytes) : '–'));
  }

  function drawCommand() {
    const text = el('pre', { tabindex: 0 }, data.command);
    const copy = el('button', { type: 'button' }, 'Copy');
    copy.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(data.command);
      } catch {
        // pages from a file may not reach the clipboard: mark it and use the old way
        getSelection().selectAllChildren(text);
        document.execCommand('copy');
      }
      copy.textContent = 'Copied';
      setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
    });
    return el('div', { class: 'command' }, text, copy);
  }

  function drawPlan() {
    if (!plan || !images.length) {
      byId('plan').append(el('p', { class: 'card empty' },
        'No plan was asked for; --plan adds it.'));
      return;
    }
    const steps = images.map((image, i) => [image, plan[i]])
      .sort((a, b) => b[1].saves_bytes - a[1].saves_bytes);
    byId('plan').append(el('div', { class: 'card' }, drawBars()),
      el('div', { class: 'card' }, el('div', { class: 'scroll' }, el('table', { class: 'plan' },
        el('thead', {}, el('tr', {}, ['Image', 'Becomes'].map((t) => el('th', { scope: 'col' }, t)),
          ['Now', 'Planned', 'Saves'].map((t) => el('th', { scope: 'col', class: 'n' }, t)))),
        el('tbody', {}, steps.map(planRow)))), data.command ? drawCommand() : null));
  }

  drawHead();
  drawTree();
  drawMatrix();
  drawPlan();
  document.documentElement.dataset.ready = 'yes';
})();
