"""The looks of a report beyond those of every page, and the few lines that tell what is pointed at."""

from __future__ import annotations

# Okabe and Ito's colours, told apart with any kind of colour vision; on dark ground lighter ones of each hue
STYLE = """\
:root {
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b8568f; --c4: #b87c00; --c5: #2b9fd9; --c6: #59636e;
  --c7: #7a4fbf; --bad: #c33c00; --good: #00734f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --c0: #58a6e8; --c1: #f07f3c; --c2: #2cc79b; --c3: #e39bc4; --c4: #f0b429; --c5: #8fd3f7; --c6: #9aa4ae;
    --c7: #b89af0; --bad: #ff8a5c; --good: #3fd0a0;
  }
}
body { max-width: 68rem; }
header { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; align-items: baseline; }
header h1, header .note { flex-basis: 100%; }
.state { font-weight: 600; color: var(--ink); }
.state::before { content: ""; display: inline-block; width: 0.65em; height: 0.65em; margin-right: 0.45em;
  border-radius: 50%; background: var(--c0); }
.state.finished::before { background: var(--good); }
.state.failed::before { background: var(--bad); }
.state.continue::before { background: var(--c4); }
nav { margin: 1rem 0 0; padding: 0.5rem 0; border-block: 1px solid var(--line); font-size: 0.9rem; }
nav a { margin-right: 1rem; display: inline-block; text-decoration: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 0.6rem;
  margin: 1.25rem 0 0; }
.tiles div { padding: 0.55rem 0.75rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--box); }
.tiles dt { font-size: 0.8rem; color: var(--soft); }
.tiles dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; line-height: 1.3; }
.tiles dd small { display: block; font-size: 0.75rem; font-weight: 400; color: var(--soft); }
.progress { height: 6px; margin: 1rem 0 0; border-radius: 3px; background: var(--line); overflow: hidden; }
.progress span { display: block; height: 100%; background: var(--c0); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: 1.75rem 1.5rem; }
.chart { min-width: 0; }
.chart.whole { grid-column: 1 / -1; }
.chart h3 { margin: 0 0 0.1rem; font-size: 1rem; }
.chart h3 span { font-weight: 400; color: var(--soft); font-size: 0.85rem; }
.chart > svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
.chart > svg.narrow { display: none; }
.chart text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.chart text.y { text-anchor: end; }
.chart text.x { text-anchor: middle; }
.chart text.x.end { text-anchor: end; }
.rule { stroke: var(--line); fill: none; }
.base { stroke: var(--soft); fill: none; }
.line { stroke: var(--c); fill: none; stroke-width: 1.7; stroke-linejoin: round; }
.line.thin { stroke-width: 0.8; opacity: 0.6; }
.band { fill: var(--c); opacity: 0.22; }
.chart g[style] > path:not([class]), .legend svg > path:not([class]) { fill: var(--c); }
.strips rect { fill: var(--ink); opacity: 0; }
.strips rect:hover { opacity: 0.1; }
.mark { --c: var(--c6); }
.mark.skip { --c: var(--c1); }
.mark.rewind { --c: var(--bad); }
.mark.resume { --c: var(--c2); }
.mark.branch { --c: var(--c3); }
.rod { stroke: var(--c); stroke-width: 0.9; stroke-dasharray: 2 2.5; opacity: 0.75; fill: none; }
.sign { fill: var(--c); stroke: var(--c); stroke-width: 1.2; }
.sign.open { fill: none; stroke-width: 1.7; }
.hand { fill: transparent; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1rem; margin: 0.1rem 0 0.3rem; padding: 0; list-style: none;
  font-size: 0.85rem; color: var(--soft); }
.legend li { display: flex; align-items: center; gap: 0.4rem; overflow-wrap: anywhere; }
.legend svg { flex: none; }
.readout { display: block; min-height: 1.3em; font-size: 0.8rem; line-height: 1.3; color: var(--ink);
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.key { display: flex; align-items: center; gap: 0.5rem; margin: 0.1rem 0 0.4rem; font-size: 0.8rem;
  color: var(--soft); }
.key span { flex: 0 1 9rem; height: 0.7rem; border-radius: 2px; }
.heat rect:hover { stroke: var(--ink); stroke-width: 1.5; }
.best { font-weight: 700; }
.se { color: var(--soft); font-size: 0.85em; }
.moment { margin: 1rem 0 0.25rem; font-size: 0.9rem; color: var(--soft); }
.sample { margin: 0.25rem 0; }
.sample b { color: var(--link); }
.sum { margin: 0.4rem 0 0.5rem; display: flex; height: 1.1rem; border-radius: 4px; overflow: hidden; }
.sum span { min-width: 1px; }
.swatch { display: inline-block; width: 0.7em; height: 0.7em; margin-right: 0.5em; border-radius: 2px; }
@media (max-width: 44rem) {
  .chart > svg.narrow { display: block; }
  .chart > svg.broad { display: none; }
}
@media (max-width: 32rem) { .tiles { grid-template-columns: 1fr 1fr; } }
@media print {
  :root {
    --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b8568f; --c4: #b87c00; --c5: #2b9fd9;
    --c6: #59636e; --c7: #7a4fbf; --bad: #c33c00; --good: #00734f;
  }
  nav, .readout { display: none; }
  .charts { display: block; orphans: 1; widows: 1; }
  .charts > figure { display: inline-block; width: 48%; margin: 0 1% 1rem 0; vertical-align: top; }
  .charts > figure.whole { width: 98%; }
  .chart > svg.narrow { display: none; }
  .chart > svg.broad { display: block; }
  .tiles div, .state::before, .progress span, .key span, .sum span { print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
}
"""

# The page is complete without: a browser shows the same titles when a pointer rests. This is for touch.
SCRIPT = """\
for (const figure of document.querySelectorAll("figure.chart")) {
  const told = figure.querySelector("output");
  const tell = (event) => {
    const at = event.target.closest("g.mark") ?? event.target.closest("rect");
    const title = at?.querySelector("title");
    if (title) told.textContent = title.textContent;
  };
  figure.addEventListener("pointermove", tell);
  figure.addEventListener("pointerdown", tell);
}
"""
