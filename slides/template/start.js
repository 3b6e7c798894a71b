// Set the formulas first, while every slide is laid out and can be measured; only then let
// reveal.js hide all slides but one. With ?print in the address nothing is hidden: the page is
// then a plain stack of slides, one per sheet; ?print=notes puts a sheet of notes behind each.
(function () {
  const root = document.documentElement;
  const deck = document.getElementById('deck');
  const slides = document.getElementById('slides');
  const print = new URLSearchParams(location.search).has('print');
  const notes = new URLSearchParams(location.search).get('print') === 'notes';

  async function present() {
    deck.classList.add('reveal');
    slides.classList.add('slides');
    await Reveal.initialize({
      width: 1280, height: 720, margin: 0, minScale: 0.1, maxScale: 6,
      center: false, display: 'flex', hash: true, transition: 'none', controls: false,
      progress: true, pdfSeparateFragments: false, plugins: [RevealNotes],
    });
  }

  // A browser may break a line between a formula and the full stop behind it: tie them together.
  function keepPunctuation() {
    for (const formula of document.querySelectorAll('mjx-container:not([display])')) {
      const next = formula.nextSibling;
      const marks = next && next.nodeType === 3 ? next.data.match(/^[.,;:!?)]+/) : null;
      if (!marks) continue;
      next.data = next.data.slice(marks[0].length);
      const tied = document.createElement('span');
      tied.style.whiteSpace = 'nowrap';
      formula.replaceWith(tied);
      tied.append(formula, marks[0]);
    }
  }

  function layNotesOut() {
    for (const aside of document.querySelectorAll('.slide aside.notes')) {
      const slide = aside.closest('.slide');
      aside.className = 'sheet';
      aside.dataset.of = slide.getAttribute('aria-label');
      slide.after(aside);
    }
  }

  async function start() {
    await MathJax.startup.promise;
    keepPunctuation();
    await Promise.all(Array.from(document.images, (image) => image.decode().catch(() => null)));
    if (notes) layNotesOut();
    root.classList.add(print ? 'print' : 'present');
    if (!print) await present();
    root.classList.add('ready');
  }

  start();
})();
