package event

// Visitor handles events, with one method for each kind. A display implements all of
// them, so that a new kind does not compile until every display says what it shows of
// it; a method that shows nothing says why.
type Visitor interface {
	RunStarted(Event)
	PullStarted(Event)
	PullProgress(Event)
	PullFinished(Event)
	StepStarted(Event)
	Line(Event)
	StepRetried(Event)
	StepFinished(Event)
	StepKept(Event)
	Warning(Event)
	MatrixFinished(Event)
	RunFinished(Event)
	Failure(Event)
}

// Kinds returns all kinds of events.
func Kinds() []Kind {
	return []Kind{
		RunStarted, PullStarted, PullProgress, PullFinished, StepStarted, Line, StepRetried,
		StepFinished, StepKept, Warning, MatrixFinished, RunFinished, Failure,
	}
}

// Visit calls the visitor's method for the kind of the event. It ignores kinds that it
// does not know: a record may come from a newer stepexec.
func Visit(v Visitor, e Event) {
	switch e.Kind {
	case Line: // first: most events are lines
		v.Line(e)
	case RunStarted:
		v.RunStarted(e)
	case PullStarted:
		v.PullStarted(e)
	case PullProgress:
		v.PullProgress(e)
	case PullFinished:
		v.PullFinished(e)
	case StepStarted:
		v.StepStarted(e)
	case StepRetried:
		v.StepRetried(e)
	case StepFinished:
		v.StepFinished(e)
	case StepKept:
		v.StepKept(e)
	case Warning:
		v.Warning(e)
	case MatrixFinished:
		v.MatrixFinished(e)
	case RunFinished:
		v.RunFinished(e)
	case Failure:
		v.Failure(e)
	}
}
