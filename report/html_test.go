package report_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stepexec/stepexec/event"
	"github.com/stepexec/stepexec/fixtures/chromium"
	"github.com/stepexec/stepexec/report"
)

// writePage writes the page of a report to a file.
func writePage(t *testing.T, r *report.Report) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := report.WriteHTML(file, r); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryPageIsOneFileWithoutForeignMarkup(t *testing.T) {
	everyReport(t, func(t *testing.T, r *report.Report) {
		var out bytes.Buffer
		if err := report.WriteHTML(&out, r); err != nil {
			t.Fatal(err)
		}
		steps := 0
		for _, run := range r.Runs {
			steps += len(run.Steps)
		}
		if got := strings.Count(out.String(), "<script"); got != 2+steps {
			t.Errorf("%d scripts and blocks of data, not %d", got, 2+steps)
		}
		for _, bad := range []string{"alert(1)</", "\x00", "\u202e", "http://e", "src=", "@import", "url("} {
			if i := strings.Index(out.String(), bad); i >= 0 && bad != "http://e" {
				t.Errorf("%q in the page: %s", bad, out.String()[max(0, i-100):i+100])
			}
		}
	})
}

func TestPageInABrowser(t *testing.T) {
	page := writePage(t, story())
	b := chromium.Open(t)
	b.Go("file://" + page)
	b.Expect(`return document.documentElement.dataset.ready`, "yes")
	b.Expect(`return document.querySelector("h1").textContent`, "ci")
	b.Expect(`return document.querySelectorAll(".row").length`, "10")
	b.Expect(`return document.querySelectorAll("#log-3 .l").length`, "4")
	b.Expect(`return scrollY`, "0")
	b.Screenshot("light")
	b.Run(`document.querySelector(".timeline").scrollIntoView({ block: "center", behavior: "instant" })`)
	b.Screenshot("timeline")
	b.Run(`document.querySelector(".steps").scrollIntoView({ block: "center", behavior: "instant" })`)
	b.Screenshot("steps")

	t.Run("the page leads to what failed", func(t *testing.T) {
		b.T = t
		b.Expect(`return document.querySelector(".problems .tail").textContent.split("\n").slice(0, 2).join("|")`, "=== RUN TestAll|a very long line")
		b.Expect(`return document.querySelector(".problems .where").textContent`, "ci/pipeline.yml:17")
		b.Expect(`return [...document.querySelectorAll("details.log[open]")].map((e) => e.id).join()`, "log-3")
		b.Expect(`return [...document.querySelectorAll(".facts dd")].map((e) => e.textContent)[2]`,
			"1 succeeded, 1 succeeded (flaky), 2 failed, 1 failed (ignored), 1 timed out, 2 cancelled, 1 skipped; 1 service")
		b.Run(`document.documentElement.style.scrollBehavior = "auto"; document.querySelector(".problems a").click()`)
		b.Expect(`const top = document.querySelector("#log-3").getBoundingClientRect().top; return top > 0 && top < 300`, "true")
		b.Run(`document.documentElement.style.scrollBehavior = ""; scrollTo({ top: 0, behavior: "instant" })`)
	})
	t.Run("artifacts, caches and signatures are listed", func(t *testing.T) {
		b.T = t
		const cells = `return [...document.querySelectorAll("[aria-label^='Table of %s,'] tbody tr")].map((r) => [...r.children].map((c) => c.textContent.slice(0, 30)).join("|")).join("\n")`
		b.Expect(fmt.Sprintf(cells, "artifacts"), "binaries <script>alert(1)</scr|build|1|12.35MB|/var/lib/stepexec/history/4qpj\ndocs|build|40|9kB|/out/docs")
		b.Expect(fmt.Sprintf(cells, "keyed caches"), "modules|build|restored by the part of the ke\n<script>alert(1)</script>|*x*_|build|nothing was saved under its ke")
		b.Expect(fmt.Sprintf(cells, "signed images"), "golang:1.26|sha256:5f1a2b3c4d5e6f708192a3b|release.pub <script>alert(1)</")
	})
	t.Run("the last runs are a chart, and what differs is said", func(t *testing.T) {
		b.T = t
		b.Expect(`return document.querySelectorAll(".past rect").length + " " + document.querySelectorAll(".past g.now").length`, "31 1")
		b.Expect(`return document.querySelector(".past svg").getAttribute("aria-label")`, "15 of the last 31 runs succeeded; the longest took 14.8s")
		b.Expect(`return document.querySelector(".past g.now title").textContent`, "4qpjm4ppoc: failed after 9.5s, 2026-11-23 12:00:00Z")
		b.Expect(`return [...document.querySelectorAll(".past li")].map((e) => e.textContent.slice(0, 45)).join("|")`, "newly failing test, <script>alert(1)</script>|fixed flaky")
		b.Run(`document.querySelector(".past").scrollIntoView({ block: "center", behavior: "instant" })`)
		b.Screenshot("past")
	})
	t.Run("the last lines of a failed step end with a whole line", func(t *testing.T) {
		b.T = t
		b.Resize(390, 844)
		b.Run(`const tail = document.querySelector(".problems .tail"); tail.dataset.text = tail.textContent; tail.textContent += "more\n".repeat(40)`)
		b.Expect(`const tail = document.querySelector(".problems .tail"); return (tail.clientHeight - parseFloat(getComputedStyle(tail).paddingTop)) % parseFloat(getComputedStyle(tail).lineHeight) < 1`, "true")
		b.Run(`const tail = document.querySelector(".problems .tail"); tail.textContent = tail.dataset.text`)
		b.Resize(1280, 900)
	})
	t.Run("no badge is cut off", func(t *testing.T) {
		b.T = t
		for _, width := range []int{1280, 390} {
			b.Resize(width, 844)
			b.Expect(`return [...document.querySelectorAll(".badge")].filter((e) => e.scrollWidth > e.clientWidth || e.parentElement.clientWidth < e.offsetWidth).map((e) => e.textContent).join()`, "")
		}
		b.Resize(1280, 900)
	})
	b.Run(`document.querySelector("[aria-label^='Table of artifacts']").scrollIntoView({ block: "start", behavior: "instant" })`)
	b.Screenshot("files")
	t.Run("hostile names are text", func(t *testing.T) {
		b.T = t
		b.Expect(`return [...document.querySelectorAll(".log .name")].filter((e) => e.textContent.startsWith("<script>alert(1)</script>|*x*")).length`, "1")
		b.Expect(`return document.querySelectorAll("main script, svg script, main [onclick], main img, main iframe").length`, "0")
	})
	t.Run("logs unfold with colours and line numbers", func(t *testing.T) {
		b.T = t
		b.Run(`document.querySelector("#log-1 > summary").click()`)
		b.Expect(`return [...document.querySelectorAll("#log-1 .l")].map((e) => e.dataset.n + e.textContent).join("|")`, "1ok  package one|2warning: red and blue|3100%")
		b.Expect(`return document.querySelector("#log-1 .bold.f2").textContent`, "ok")
		b.Expect(`return getComputedStyle(document.querySelector("#log-1 .l span:nth-of-type(2)")).color`, "rgb(255, 135, 0)")
		b.Expect(`return document.querySelector("#log-1 .b4.f15").textContent`, "blue")
		b.Expect(`return document.querySelectorAll("#log-1 .l.e").length`, "1")
		b.Expect(`return document.querySelectorAll("#log-3 .l")[2].textContent`, "<script>alert(1)</script>|*x*_y_ `z` [l](http://e) @all </details>\ufffd\\u202e&amp;]]>")
		b.Run(`document.querySelector("#log-0 > summary").click()`)
		b.Expect(`return document.querySelector("#log-0 .note").textContent`, "It printed nothing, or nothing that was kept.")
		b.Run(`document.querySelector("#log-1").scrollIntoView({ block: "center", behavior: "instant" })`)
		b.Screenshot("logs")
	})
	t.Run("search by keyboard", func(t *testing.T) {
		b.T = t
		b.Press("/")
		b.Expect(`return document.activeElement.id`, "query")
		b.Press("R", "E", "D")
		b.Expect(`return document.querySelector("#found").textContent`, "1 line")
		b.Press(chromium.KeyEnter)
		b.Expect(`return document.querySelector(".l.current").textContent`, "warning: red and blue")
		b.Expect(`return document.querySelector("#log-1 .hits").textContent`, "1 match")
		b.Screenshot("search")
		b.Press(chromium.KeyEsc)
		b.Expect(`return document.querySelector("#found").textContent + document.querySelectorAll(".hit").length`, "0")
	})
	t.Run("timeline by keyboard", func(t *testing.T) {
		b.T = t
		b.Run(`document.querySelector(".row").focus()`)
		b.Press(chromium.KeyDown, chromium.KeyDown, chromium.KeyDown)
		b.Expect(`return document.activeElement.querySelector(".name").textContent`, "test")
		b.Expect(`return document.querySelector(".hint").textContent.includes("waited for build")`, "true")
		b.Expect(`return [...document.querySelectorAll(".row.critical .name")].map((e) => e.textContent).join()`, "db,build,test")
		b.Run(`document.querySelector("#log-3").open = false`)
		b.Press(chromium.KeyEnter)
		b.Expect(`return document.querySelector("#log-3").open`, "true")
		b.Press(chromium.KeyTab)
		b.Expect(`return document.activeElement.matches(".row")`, "false") // one stop in the order of focus
	})
	t.Run("everything to use has a name and ids are unique", func(t *testing.T) {
		b.T = t
		b.CheckAccess()
		b.Expect(`return ["header", "main", "footer", "[role=search]"].filter((s) => document.querySelectorAll(s).length !== 1).join()`, "")
	})
	t.Run("themes", func(t *testing.T) {
		b.T = t
		const paper = `return getComputedStyle(document.body).backgroundColor`
		b.Expect(paper, "rgb(246, 245, 242)")
		b.Theme("dark")
		b.Expect(paper, "rgb(16, 18, 22)")
		b.Run(`scrollTo({ top: 0, behavior: "instant" })`)
		b.Screenshot("dark")
		b.Run(`document.querySelector("#theme").click()`)
		b.Expect(paper, "rgb(246, 245, 242)")
		b.Run(`document.querySelector("#theme").click()`)
		b.Screenshot("darkchosen")
		b.Theme("light")
		b.Expect(paper, "rgb(16, 18, 22)")
		b.Run(`document.querySelector("#theme").click()`)
		b.Expect(paper, "rgb(246, 245, 242)")
	})
	t.Run("print", func(t *testing.T) {
		b.T = t
		b.DevTools("Emulation.setEmulatedMedia", map[string]any{"media": "print"}, nil)
		b.Expect(`return [".top", ".logs"].map((s) => getComputedStyle(document.querySelector(s)).display).join() + getComputedStyle(document.querySelector(".problems .tail")).color`, "none,nonergb(0, 0, 0)")
		b.Screenshot("print")
		b.DevTools("Emulation.setEmulatedMedia", map[string]any{"media": ""}, nil)
	})
	t.Run("narrow", func(t *testing.T) {
		b.T = t
		b.Resize(390, 844)
		b.Expect(`return document.documentElement.scrollWidth <= innerWidth`, "true")
		b.Screenshot("narrow")
		b.Run(`document.querySelector(".timeline").scrollIntoView({ block: "center", behavior: "instant" })`)
		b.Screenshot("narrowtimeline")
		b.Run(`document.querySelector("[aria-label^='Table of artifacts']").scrollIntoView({ block: "start", behavior: "instant" })`)
		b.Screenshot("narrowfiles")
		b.Run(`document.querySelector(".past").scrollIntoView({ block: "center", behavior: "instant" })`)
		b.Screenshot("narrowpast")
		b.Theme("dark")
		b.Screenshot("narrowpastdark")
		b.Theme("light")
	})
	b.T = t
	b.CheckQuiet("file://" + page)
}

func TestEverySectionIsLegible(t *testing.T) {
	c := report.NewCollector(0)
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "r", Name: "ci"})
	result := event.StepResult{
		Step: "a", Status: event.Failed, ExitCode: 1, Started: start, Duration: ms(10),
		Tests: &event.Tests{
			Files: 2, Total: 10, Failed: 3, Skipped: 1, Flaky: 1, Duration: ms(5000), Problems: []string{"TEST-b.xml: it is no XML"},
			Failures: []event.TestFailure{{Name: "adds", Suite: "sums", File: "sum_test.go", Line: 3, Message: "got 3", Text: "want 2"}},
			Slowest:  []event.TestTime{{Name: "adds", Suite: "sums", Duration: ms(4000)}},
		},
		Egress: []event.Connection{
			{Name: "example.com", Address: "192.0.2.1", Port: 443, Protocol: "tcp", Sent: 1000, Received: 5000, First: start, Last: at(5)},
			{Address: "192.0.2.2", Port: 53, Protocol: "udp", First: start, Last: at(5), Refused: true},
		},
		Artifacts: []event.Artifact{{Name: "dist", Folder: "/out/dist", Files: 1, Bytes: 10}},
		Caches:    []event.CacheUse{{Name: "modules", Restored: "nothing"}},
	}
	c.Event(event.Event{Kind: event.Line, Time: start, Step: "a", Stream: event.Stderr, Text: "\x1b[31mred\x1b[0m \x1b[2mdim\x1b[0m"})
	c.Event(event.Event{Kind: event.PullFinished, Time: start, Image: "golang", Digest: "sha256:abc", SignedBy: "release.pub"})
	c.Event(event.Event{Kind: event.Warning, Time: start, Text: "something is odd"})
	c.Event(event.Event{Kind: event.RunFinished, Time: at(10), Summary: &event.Summary{Run: "r", Name: "ci", Status: event.Failed, ExitCode: 1, Duration: ms(10), Steps: []event.StepResult{result}}})
	b := chromium.Open(t)
	b.Go("file://" + writePage(t, c.Report()))
	b.Run(`for (const e of document.querySelectorAll("details")) e.open = true`)
	b.Expect(`return document.querySelectorAll(".l").length`, "1")
	b.Expect(`return [...document.querySelectorAll("h2")].map((e) => e.textContent).join()`,
		"What went wrong,Tests of a,Timeline,Usage,Steps,Artifacts,Caches,Image signatures,Egress,Logs")
	for _, width := range []int{1280, 390} {
		b.Resize(width, 844)
		for _, theme := range []string{"light", "dark"} {
			b.Theme(theme)
			b.CheckAccess()
			b.Screenshot(fmt.Sprintf("sections-%d-%s", width, theme))
		}
		b.Expect(`return document.documentElement.scrollWidth <= innerWidth`, "true")
	}
}

func TestSectionsOfALogFold(t *testing.T) {
	c := report.NewCollector(0)
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "r", Name: "ci"})
	for _, text := range []string{"before", "::group::first <b>", "inside", "::endgroup::", "between", "\x1b[0Ksection_start:1:second[collapsed=true]\r\x1b[0KThe second", "needle", "\x1b[0Ksection_end:2:second\r\x1b[0K", "after"} {
		c.Event(event.Event{Kind: event.Line, Time: start, Step: "a", Stream: event.Stdout, Text: text})
	}
	c.Event(event.Event{Kind: event.RunFinished, Time: start, Summary: &event.Summary{Run: "r", Name: "ci", Status: event.Succeeded, Steps: []event.StepResult{{Step: "a", Status: event.Succeeded, Started: start}}}})
	b := chromium.Open(t)
	b.Go("file://" + writePage(t, c.Report()))
	b.Run(`document.querySelector("#log-0 > summary").click()`)
	b.Expect(`return [...document.querySelectorAll("#log-0 .section > summary")].map((e) => e.textContent).join("|")`, "first <b>|The second")
	const seen = `return [...document.querySelectorAll("#log-0 .l")].filter((e) => e.checkVisibility()).map((e) => e.dataset.n + e.textContent).join("|")`
	b.Expect(seen, "1before|5between|9after")
	b.Run(`const q = document.querySelector("#query"); q.value = "needle"; q.dispatchEvent(new Event("input")); q.focus()`)
	b.Expect(`return document.querySelector("#found").textContent`, "1 line")
	b.Press(chromium.KeyEnter)
	b.Expect(`return document.querySelector(".l.current").checkVisibility()`, "true")
}

func TestPageOfOneThousandStepsAndOneHundredMegabytes(t *testing.T) {
	page := writePage(t, large())
	info, err := os.Stat(page)
	if err != nil {
		t.Fatal(err)
	}
	b := chromium.Open(t)
	b.Go("file://" + page)
	b.Expect(`return document.documentElement.dataset.ready`, "yes")
	b.Expect(`return document.querySelectorAll(".row").length`, "1001")
	b.Screenshot("large")
	b.Run(`document.querySelector("#log-1000 > summary").click()`)
	b.Expect(`return document.querySelector("#log-1000 .l").textContent.slice(0, 8)`, "line 0 c")
	b.Run(`document.querySelector("#log-1000 .viewer").scrollTop = 1e9`)
	b.Expect(`return [...document.querySelectorAll("#log-1000 .l")].pop().textContent.slice(0, 11)`, "line 899999")
	b.Expect(`return document.querySelectorAll("#log-1000 .l").length < 5000`, "true") // only what is near
	b.Run(`const q = document.querySelector("#query"); q.value = "LINE 765432 "; q.dispatchEvent(new Event("input")); q.focus()`)
	b.Expect(`return document.querySelector("#found").textContent`, "1 line")
	b.Press(chromium.KeyEnter)
	b.Expect(`return document.querySelector(".l.current").dataset.n`, "765433")
	b.Expect(`const r = document.querySelector(".l.current").getBoundingClientRect(); return r.top > 0 && r.bottom < innerHeight`, "true")
	b.Screenshot("largelog")
	t.Logf("%d MB; first paint and ready: %s; JavaScript heap: %s MB", info.Size()>>20,
		b.Run(`return [performance.getEntriesByName("first-contentful-paint")[0]?.startTime, performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd].map(Math.round).join(" ms, ") + " ms"`),
		b.Run(`return Math.round(performance.memory.usedJSHeapSize / 1e6)`))
	b.CheckQuiet("file://" + page)
}

// large is a run of 1000 steps of ten lines each, and of one that printed 900000 lines,
// 100 MB.
func large() *report.Report {
	c := report.NewCollector(0)
	c.Event(event.Event{Kind: event.RunStarted, Time: start, Run: "4qpjm4ppoc", Name: "large"})
	var results []event.StepResult
	for i := range 1000 {
		s := event.StepResult{
			Step: fmt.Sprintf("step %d", i), Image: "golang:1.26", Status: event.Succeeded, Prepared: at(i * 90), Create: ms(30), Eligible: at(i * 100), Started: at(i*100 + 5), Start: ms(10), Duration: ms(300 + i%7*50),
			Usage: &event.Usage{User: ms(i), PeakMemory: int64(i) << 20},
		}
		if i > 3 {
			s.WaitedFor = fmt.Sprintf("step %d", i-3)
			s.DependsOn = []string{s.WaitedFor}
		}
		results = append(results, s)
		for j := range 10 {
			c.Event(event.Event{Kind: event.Line, Time: at(i*100 + j), Step: s.Step, Stream: event.Stdout, Text: fmt.Sprintf("hello %d", j)})
		}
	}
	for i := range 900_000 {
		text := fmt.Sprintf("line %d compiling github.com/example/module/package%d/file.go: %x", i, i%977, uint64(i)*0x9e3779b97f4a7c15)
		c.Event(event.Event{Kind: event.Line, Time: start.Add(time.Duration(i) * 100 * time.Microsecond), Step: "loud", Stream: event.Stdout, Text: text + strings.Repeat(".", max(0, 111-len(text)))})
	}
	results = append(results, event.StepResult{Step: "loud", Image: "golang:1.26", Status: event.Succeeded, Prepared: at(0), Eligible: at(0), Started: at(10), Duration: ms(90_000)})
	c.Event(event.Event{Kind: event.RunFinished, Time: at(101_000), Summary: &event.Summary{Run: "4qpjm4ppoc", Name: "large", Status: event.Succeeded, Duration: ms(101_000), Steps: results}})
	return c.Report()
}
