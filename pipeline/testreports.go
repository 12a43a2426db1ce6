package pipeline

import "go.yaml.in/yaml/v3"

// TestReports are files in the workspace that say how a step's tests have ended.
type TestReports struct {
	JUnit    []string // patterns as in Artifact.Paths
	Fail     bool     // a failed test fails the step
	Optional bool     // it is no matter if there are none; not a key of files
}

func (p *parser) reports(v value) *TestReports {
	r := &TestReports{}
	if v.scalar() && v.kind != nullKind { // as other systems write it
		p.wrong(v, "must be a map, not "+article(v.kind), "write reports: {junit: [PATTERN]}")
		return r
	}
	p.object(v, fields{
		"junit": func(v value) { r.JUnit = p.artifactPaths(v) },
		"fail":  func(v value) { r.Fail = p.boolean(v) },
	})
	if v.kind == mapKind {
		if _, given := v.get("junit"); !given {
			p.missing(v, "junit")
		}
	}
	return r
}

// reports are the test reports of a step: its own, and those that are collected of all steps.
func (pl *planner) reports(s *Step) *TestReports {
	own := s.Reports
	if len(pl.in.CollectJUnit) == 0 || !pl.isStep[s.Name] || s.Detach {
		return own
	}
	if own != nil {
		return own
	}
	return &TestReports{JUnit: pl.in.CollectJUnit, Optional: true}
}

func reportsNode(r *TestReports) *yaml.Node {
	if r == nil {
		return nil
	}
	m := newMapping()
	m.texts("junit", r.JUnit)
	m.flag("fail", r.Fail)
	return m.Node
}
