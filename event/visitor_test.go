package event_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stepexec/stepexec/event"
)

// TestKindsHasEveryKind reads the constants from the source, so that a kind which is
// missing from Kinds is missed.
func TestKindsHasEveryKind(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []event.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Kind" {
				value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				declared = append(declared, event.Kind(value))
			}
		}
		return true
	})
	kinds := event.Kinds()
	slices.Sort(declared)
	slices.Sort(kinds)
	if len(declared) == 0 || !slices.Equal(declared, kinds) {
		t.Errorf("declared %v, Kinds returns %v", declared, kinds)
	}
}

// TestVisitCallsTheMethodNamedForTheKind also fails when Visitor has a method that no
// kind reaches.
func TestVisitCallsTheMethodNamedForTheKind(t *testing.T) {
	for _, kind := range event.Kinds() {
		var called noted
		event.Visit(&called, event.Event{Kind: kind, Text: "text"})
		if len(called) != 1 || !strings.EqualFold(called[0], strings.ReplaceAll(string(kind), "_", "")+" text") {
			t.Errorf("%s: called %v", kind, called)
		}
	}
	if methods := reflect.TypeFor[event.Visitor]().NumMethod(); methods != len(event.Kinds()) {
		t.Errorf("Visitor has %d methods for %d kinds", methods, len(event.Kinds()))
	}
	var called noted
	event.Visit(&called, event.Event{Kind: "a kind of the future"})
	if len(called) != 0 {
		t.Errorf("an unknown kind: called %v", called)
	}
}

// noted is a Visitor that notes the calls of its methods.
type noted []string

func (n *noted) note(method string, e event.Event) { *n = append(*n, method+" "+e.Text) }

func (n *noted) RunStarted(e event.Event)     { n.note("RunStarted", e) }
func (n *noted) PullStarted(e event.Event)    { n.note("PullStarted", e) }
func (n *noted) PullProgress(e event.Event)   { n.note("PullProgress", e) }
func (n *noted) PullFinished(e event.Event)   { n.note("PullFinished", e) }
func (n *noted) StepStarted(e event.Event)    { n.note("StepStarted", e) }
func (n *noted) Line(e event.Event)           { n.note("Line", e) }
func (n *noted) StepRetried(e event.Event)    { n.note("StepRetried", e) }
func (n *noted) StepFinished(e event.Event)   { n.note("StepFinished", e) }
func (n *noted) StepKept(e event.Event)       { n.note("StepKept", e) }
func (n *noted) Warning(e event.Event)        { n.note("Warning", e) }
func (n *noted) MatrixFinished(e event.Event) { n.note("MatrixFinished", e) }
func (n *noted) RunFinished(e event.Event)    { n.note("RunFinished", e) }
func (n *noted) Failure(e event.Event)        { n.note("Failure", e) }
