package ui_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fixtures/chromium"
	"github.com/stepexec/stepexec/ui"
)

// contrasts lists the texts that are seen and whose contrast with what is behind them is below 4.5 to 1
// (WCAG 2.2, section 1.4.3).
const contrasts = `
	const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return [m[0], m[1], m[2], m[3] ?? 1]; };
	const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
	const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor));
		return layers.reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
	};
	const bad = [];
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walk.nextNode(); n; n = walk.nextNode()) {
		const e = n.parentElement;
		if (!n.data.trim() || !e.checkVisibility({ visibilityProperty: true }) || e.closest(":disabled, script, title, .skip, .hidden")) continue;
		const back = behind(e);
		const [a, b] = [light(over(parse(getComputedStyle(e).color), back)), light(back)];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.push(n.data.trim().slice(0, 30) + " " + ratio.toFixed(2));
	}
	return bad.join()`

// nameless lists what can be used and has no name, and ids that are there twice.
const nameless = `
	const bad = [...document.querySelectorAll("button, a[href], input:not([type=hidden]), select, summary, [role=region]")].filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length || e.querySelector("title"))).map((e) => e.outerHTML);
	const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
	return [...bad, ...ids.filter((id, i) => ids.indexOf(id) !== i)].join()`

func TestPagesInABrowser(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 1000, 20)
	s := serve(t, ui.Options{Root: root, AllowStop: true})
	b := chromium.Open(t)
	b.Go(s.url)
	const ready = `return document.documentElement.dataset.ready`
	b.Expect(ready, "yes")
	b.Expect(`return location.search + document.cookie`, "") // neither scripts nor the address have the secret
	b.Expect(`return document.querySelectorAll(".lives li").length + " " + document.querySelectorAll(".runs tbody tr").length`, "20 100")
	b.Expect(`return document.querySelector("#ended .count").textContent`, "1–100 of 1000")

	t.Run("every page at every size and in both themes", func(t *testing.T) {
		b.T = t
		for _, page := range []string{"", "pipelines", "storage", "runs/run0997", "runs/live0019"} {
			b.Go(s.base + page)
			b.Expect(ready, "yes")
			for _, width := range []int{1280, 390} {
				b.Resize(width, 844)
				for _, theme := range []string{"light", "dark"} {
					b.Theme(theme)
					b.Expect(contrasts, "")
					b.Screenshot(fmt.Sprintf("ui-%s-%d-%s", strings.ReplaceAll(page, "/", "-"), width, theme))
				}
				b.Expect(`return document.documentElement.scrollWidth <= innerWidth`, "true")
			}
			b.Expect(nameless, "")
			b.Expect(`return ["header", "main", "h1"].filter((s) => document.querySelectorAll(s).length !== 1).join()`, "")
		}
		b.Theme("light")
		b.Resize(1280, 900)
	})
	t.Run("the list changes by itself, and what has the focus keeps it", func(t *testing.T) {
		b.T = t
		b.Go(s.base)
		b.Expect(`return document.querySelectorAll(".lives li").length`, "20")
		b.Run(`document.querySelectorAll(".lives a")[2].focus()`)
		grow(t, root, "live0019", event.Event{Kind: event.StepStarted, Step: "deploy"})
		b.Expect(`return [...document.querySelectorAll(".lives li:first-child .step")].map((e) => e.textContent).join()`, "test,deploy")
		b.Expect(`return [...document.querySelectorAll(".lives a")].indexOf(document.activeElement)`, "2")
		goesOn(t, root, "new00001", began.Add(9999*time.Minute))
		b.Expect(`return document.querySelector(".lives a").href.split("/").pop()`, "new00001")
	})
	t.Run("search by keyboard", func(t *testing.T) {
		b.T = t
		b.Press("/")
		b.Press("n", "i", "g", "h", "t", "l", "y", " ", "0", "9", "8", "9", chromium.KeyEnter)
		b.Expect(`return [...document.querySelectorAll(".runs tbody a")].map((a) => a.textContent).join()`, "nightly")
		b.Expect(`return document.querySelector("#q").value`, "nightly 0989")
	})
	t.Run("a live run", func(t *testing.T) {
		b.T = t
		b.Go(s.base + "runs/live0005")
		b.Expect(ready, "yes")
		b.Expect(`return [...document.querySelectorAll(".row .name")].map((e) => e.textContent).join()`, "build,test,deploy")
		b.Run(`document.querySelector("#log-1 > summary").click()`)
		const lines = `return [...document.querySelectorAll("#log-1 .l")].map((e) => e.textContent).join()`
		b.Expect(lines, "first line")
		grow(t, root, "live0005", said("test", "<b>second</b> \x1b[32mline\x1b[0m"), said("test", "10%\r20%\r30%"))
		b.Expect(lines, "first line,<b>second</b> line,30%")
		b.Expect(`return document.querySelector("#log-1 .f2").textContent`, "line")
		b.Run(`document.querySelector(".row").focus()`)
		result := event.StepResult{Step: "test", Status: event.Failed, ExitCode: 3, Started: began, Duration: event.Millis(time.Second)}
		grow(t, root, "live0005", event.Event{Kind: event.StepFinished, Step: "test", Result: &result})
		b.Expect(`return document.querySelector(".problems .words").textContent`, "failed with exit code 3 after 1s")
		b.Expect(`return document.querySelector("#log-1 .dot").className + " " + document.querySelector("#log-1").open`, "dot bad true")
		b.Expect(`return document.activeElement.matches(".row")`, "true")
		var more []event.Event
		for i := range 1200 {
			more = append(more, said("deploy", fmt.Sprint("copy file ", i)))
		}
		grow(t, root, "live0005", more...)
		b.Expect(`return document.querySelector("#log-2 .count").textContent`, "1200 lines")
		b.Run(`const q = document.querySelector("#query"); q.value = "file 777"; q.dispatchEvent(new Event("input")); q.focus()`)
		b.Expect(`return document.querySelector("#found").textContent`, "1 line")
		b.Press(chromium.KeyEnter)
		b.Expect(`return document.querySelector(".l.current").dataset.n`, "778")
		b.Screenshot("ui-live-search")
	})
	t.Run("a page that is not seen has no stream, and a run that ends is not followed any more", func(t *testing.T) {
		b.T = t
		r, events := ended("live0005", event.Failed, time.Minute)
		summary := *r.Summary
		summary.Steps = []event.StepResult{{Step: "build", Status: event.Succeeded, Started: began}, {Step: "test", Status: event.Failed, ExitCode: 3, Started: began}, {Step: "deploy", Status: event.Cancelled}}
		events[len(events)-1].Summary = &summary
		grow(t, root, "live0005", events[len(events)-1])
		b.Expect(`return document.querySelector(".head .badge").textContent`, "failed")
		b.Expect(`return document.querySelectorAll(".stop").length`, "0")
	})
	t.Run("a bar of a pipeline leads to its run", func(t *testing.T) {
		b.T = t
		b.Go(s.base + "pipelines")
		b.Expect(ready, "yes")
		b.Run(`location.href = document.querySelector(".cards svg a[href$=run0999]").getAttribute("href")`)
		b.Expect(`return document.querySelector("h1")?.textContent + document.querySelectorAll(".row").length`, "ci1")
	})
	b.T = t
	b.CheckQuiet("http://" + s.host)
}
