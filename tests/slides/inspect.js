// What a slide at 1280 x 720 may hold: content ends above the footer, and text can be read from the
// last row. Code may be smaller than prose; sub- and superscripts are left out.
// Evaluates to a function that returns the problems of the slide that is shown, as sentences.
() => {
  const slide = Reveal.getCurrentSlide();
  const scale = Reveal.getScale();
  const frame = slide.getBoundingClientRect();
  const bottom = slide.matches('.title, .section') ? 720 : 720 - 50;
  const problems = [];
  const name = (element) => {
    const text = (element.innerText || element.alt || '').trim().replace(/\s+/g, ' ').slice(0, 50);
    const label = element.tagName.toLowerCase() + (element.className && element.className.trim
      ? '.' + element.className.trim().split(/\s+/).join('.') : '');
    return text ? `${label} "${text}"` : label;
  };
  const box = (element) => {
    const b = element.getBoundingClientRect();
    return {left: (b.left - frame.left) / scale, right: (b.right - frame.left) / scale,
            top: (b.top - frame.top) / scale, bottom: (b.bottom - frame.top) / scale,
            width: b.width / scale, height: b.height / scale};
  };
  const outside = (b) => Math.max(b.right - 1280, b.bottom - bottom, -b.left, -b.top);

  const shown = Array.from(slide.querySelectorAll('*')).filter((element) => {
    const apart = 'aside.notes, .slide-footer, mjx-assistive-mml, style, script';
    if (element.closest(apart)) return false;
    if (element.closest('svg') && element.tagName !== 'svg') return false;
    const b = element.getBoundingClientRect();
    return b.width > 0 && b.height > 0;
  });

  // Only the innermost element that leaves the slide is named: its ancestors leave with it.
  for (const element of shown) {
    const past = outside(box(element));
    const child = [...element.children].some((c) => shown.includes(c) && outside(box(c)) > 1);
    if (past > 1 && !child)
      problems.push(`${name(element)} leaves the slide by ${past.toFixed(0)} px`);
  }

  // Text that runs out of its own box, such as a long line of code.
  for (const element of shown.filter((e) => e.matches('pre, td, th, p, li, h1, h2, h3'))) {
    const more = element.scrollWidth - element.clientWidth;
    if (more > 2 && getComputedStyle(element).display !== 'inline')
      problems.push(`${name(element)} is ${more} px wider than its box`);
  }

  // Leaves of different cells must not lie on one another.
  const kinds = 'p, li, pre, img, video, svg, table, h1, h2, h3, blockquote';
  const leaves = (cell) => shown.filter((e) => cell.contains(e) && e.matches(kinds))
    .map((e) => [e, box(e)]);
  const cells = [...slide.querySelectorAll('.cell')].filter((c) => !c.closest('aside.notes'));
  const content = cells.map(leaves);
  cells.forEach((cell, i) => {
    if (!content[i].length && !cell.innerText.trim())
      problems.push(`cell ${i + 1} shows nothing: it is skip, or its output got lost`);
  });
  for (let i = 0; i < cells.length; i++) for (let j = i + 1; j < cells.length; j++) {
    const hit = content[i].flatMap(([e, a]) => content[j].filter(([, b]) =>
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 3
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3).map(([f]) => [e, f]))[0];
    if (hit) problems.push(`${name(hit[0])} and ${name(hit[1])} overlap`);
  }

  // Text too small to read, and figures squeezed by what stands around them.
  for (const element of shown) {
    const own = Array.from(element.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || element.closest('sub, sup, svg')) continue;
    const size = parseFloat(getComputedStyle(element).fontSize);
    const least = element.closest('pre, code') ? 18 : 24;
    if (size < least - 0.01)
      problems.push(`${name(element)} is set at ${size.toFixed(0)} px, the least is ${least} px`);
  }
  for (const image of shown.filter((e) => e.matches('.output-image img'))) {
    const {width, height} = box(image);
    const drawn = Math.min(height, width * image.naturalHeight / image.naturalWidth);
    if (drawn < 150) problems.push(`${name(image)} is only ${drawn.toFixed(0)} px high`);
    if (!image.alt.trim()) problems.push(`${name(image)} has no alternative text`);
  }

  // Formulas: every one is a drawing, none is an error, no delimiter is left in the text.
  for (const math of slide.querySelectorAll('mjx-container'))
    if (!math.querySelector('svg')) problems.push('a formula was not drawn');
  const wrong = 'mjx-merror, [data-mjx-error], g[data-mml-node=merror]';
  for (const error of slide.querySelectorAll(wrong))
    problems.push(`a formula has an error: ${error.dataset.mjxError || error.textContent}`);
  for (const element of [...shown, ...slide.querySelectorAll('aside.notes *')])
    if (!element.closest('pre, code, mjx-container'))
      for (const node of element.childNodes)
        if (node.nodeType === 3 && /\$|\\\(|\\\[/.test(node.data))
          problems.push(`raw maths is left: "${node.data.trim().slice(0, 60)}"`);

  const notes = [...slide.querySelectorAll('aside.notes')].map((n) => n.textContent);
  if (!notes.join('').trim()) problems.push('has no speaker notes');
  return [...new Set(problems)];
}
