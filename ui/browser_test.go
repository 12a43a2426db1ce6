package ui_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fixtures/chromium"
	"github.com/stepexec/stepexec/ui"
)

func TestPagesInABrowser(t *testing.T) {
	root := t.TempDir()
	keepMany(t, root, 1000, 20)
	withArtifact(t, root)
	keepImage(t, root)
	must(t, os.MkdirAll(filepath.Join(root, "caches", "go-build", "data"), 0o700))
	s := serve(t, ui.Options{Root: root, AllowStop: true})
	b := chromium.Open(t)
	b.Go(s.url)
	const ready = `return document.documentElement.dataset.ready`
	b.Expect(ready, "yes")
	b.Expect(`return location.search + document.cookie`, "") // neither scripts nor the address have the secret
	b.Expect(`return document.querySelectorAll(".lives li").length + " " + document.querySelectorAll(".runs tbody tr").length`, "20 100")
	b.Expect(`return document.querySelector("#ended .count").textContent`, "1–100 of 1001")

	look := func(page string) {
		b.T.Helper()
		b.Go(s.base + page)
		b.Expect(ready, "yes")
		b.Run(`for (const e of document.querySelectorAll("details")) e.open = true`)
		for _, width := range []int{1280, 390} {
			b.Resize(width, 844)
			for _, theme := range []string{"light", "dark"} {
				b.Theme(theme)
				b.CheckAccess()
				b.Screenshot(fmt.Sprintf("ui-%s-%d-%s", strings.NewReplacer("/", "-", "?", "-").Replace(page), width, theme))
			}
			b.Expect(`return document.documentElement.scrollWidth <= innerWidth`, "true")
		}
		b.Expect(`return ["header", "main", "h1"].filter((s) => document.querySelectorAll(s).length !== 1).join()`, "")
		b.Theme("light")
		b.Resize(1280, 900)
	}
	t.Run("every page at every size and in both themes", func(t *testing.T) {
		b.T = t
		for _, page := range []string{"", "?q=nothing", "?page=5", "pipelines", "storage", "runs/run0997", "runs/run0996", "runs/live0019", "runs/run1", "runs/run1/artifacts/dist"} {
			look(page)
		}
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
	t.Run("a run that ends is not followed any more", func(t *testing.T) {
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
		b.Run(`document.querySelector(".cards svg a[href$=run0999]").focus()`)
		b.Press(chromium.KeyEnter)
		b.Expect(`return document.querySelector("h1")?.textContent + document.querySelectorAll(".row").length`, "ci1")
		b.Run(`document.querySelector('.past svg a[tabindex="0"]').focus()`)
		b.Press(chromium.KeyLeft, chromium.KeyLeft)
		b.Expect(`const bars = [...document.querySelectorAll(".past svg a")]; return bars.length - bars.indexOf(document.activeElement) + " " + bars.filter((a) => a.getAttribute("tabindex") === "0").length`, "3 1")
	})
	b.T = t
	b.CheckQuiet("http://" + s.host)
	look("runs/missing") // of which the console says that it is missing
}
