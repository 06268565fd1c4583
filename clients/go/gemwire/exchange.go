package gemwire

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

const (
	textsPerMessage = 64
	bytesPerMessage = 1 << 20
)

// An entry is a text that was taken from the source and whose result was not handed out.
type entry struct {
	id     uint64
	input  *pb.EmbedInput
	size   int
	sent   int  // times
	flying bool // sent on this stream and not answered
	done   bool
	result Result
}

// An exchange keeps the books of one EmbedStream call: ids, credit, order, and what is unanswered. It does no
// input or output. One stream follows another: when a server goes away, or has no room for a text, the stream is
// read until all that it was sent is answered, and the next one is sent what is unanswered.
type exchange struct {
	ordered     bool
	timeout     time.Duration
	count       uint64 // texts taken, the next id
	held        int    // texts taken and not handed out
	queue       []*entry
	unanswered  map[uint64]*entry
	sourceEnded bool
	revision    *string
	failures    int // streams in a row that were opened and brought no answer
	absences    int // streams in a row that no server opened
	absentSince time.Time

	// The rest belongs to the stream under way.
	window   int // 0 before the server has opened it
	credit   int
	perTexts int // of a message
	perBytes int // of a message with several texts
	largest  int // bytes of a text
	maxBytes int // of a message, as the server counts them
	unsent   []*entry
	underWay int  // texts sent and not answered
	leaving  bool // nothing more is sent
	rest     time.Duration
	progress bool
}

func newExchange(ordered bool, timeout time.Duration) *exchange {
	return &exchange{ordered: ordered, timeout: timeout, unanswered: make(map[uint64]*entry)}
}

// begin begins a stream. Nothing may be sent before the server has opened it.
func (x *exchange) begin() {
	x.window, x.credit, x.underWay, x.rest = 0, 0, 0, 0
	x.leaving, x.progress = false, false
	x.unsent = x.unsent[:0]
	for _, id := range slices.Sorted(maps.Keys(x.unanswered)) {
		e := x.unanswered[id]
		e.flying = false
		x.unsent = append(x.unsent, e)
	}
}

// space is how many more texts may be taken from the source.
func (x *exchange) space() int {
	if x.sourceEnded {
		return 0
	}
	return x.window - x.held
}

// add takes the next text.
func (x *exchange) add(input Input) {
	e := &entry{id: x.count}
	x.count++
	x.held++
	if x.ordered {
		x.queue = append(x.queue, e)
	}
	message, err := input.message()
	if err != nil {
		x.finish(e, Vector{}, err)
		return
	}
	if e.size = proto.Size(message); e.size > x.largest {
		x.finish(e, Vector{}, tooLong(e.size, x.maxBytes))
		return
	}
	e.input = message
	x.unanswered[e.id] = e
	x.unsent = append(x.unsent, e)
}

// finish sets the result of a text.
func (x *exchange) finish(e *entry, vector Vector, err *Error) {
	e.done = true
	e.input = nil
	e.result = Result{Index: int(e.id), Vector: vector}
	if err != nil {
		e.result.Err = err.at(int(e.id))
	}
	delete(x.unanswered, e.id)
	if !x.ordered {
		x.queue = append(x.queue, e)
	}
}

// next gives the next result whose turn has come.
func (x *exchange) next() (Result, bool) {
	if len(x.queue) == 0 || !x.queue[0].done {
		return Result{}, false
	}
	result := x.queue[0].result
	x.queue[0] = nil
	x.queue = x.queue[1:]
	x.held--
	return result, true
}

// sendable reports whether a text may be sent now.
func (x *exchange) sendable() bool { return len(x.unsent) > 0 && x.credit > 0 && !x.leaving }

// message gives the next texts as a message: as many as it may hold, with ids that follow each other. They
// count as sent with committed.
func (x *exchange) message() *pb.StreamBatch {
	batch := &pb.StreamBatch{FirstId: x.unsent[0].id}
	size := 0
	for _, e := range x.unsent[:min(len(x.unsent), x.credit, x.perTexts)] {
		size += e.size
		if len(batch.Inputs) > 0 && (size > x.perBytes || e.id != batch.FirstId+uint64(len(batch.Inputs))) {
			break
		}
		batch.Inputs = append(batch.Inputs, e.input)
	}
	return batch
}

// committed counts the texts of a message as sent.
func (x *exchange) committed(count int) {
	for _, e := range x.unsent[:count] {
		e.sent++
		e.flying = true
	}
	x.unsent = x.unsent[count:]
	x.credit -= count
	x.underWay += count
}

// sendingDone reports whether this stream is to be half-closed.
func (x *exchange) sendingDone() bool {
	return x.window > 0 && x.underWay == 0 && (x.leaving || x.sourceEnded && len(x.unsent) == 0)
}

// owed reports whether the server must act next: open the stream, answer, or end it.
func (x *exchange) owed() bool { return x.window == 0 || len(x.unanswered) > 0 || x.sendingDone() }

// finished reports whether every text was taken and answered.
func (x *exchange) finished() bool { return x.sourceEnded && len(x.unanswered) == 0 }

// receive takes a message of the server. The error fails the call.
func (x *exchange) receive(message *pb.EmbedStreamResponse) *Error {
	switch payload := message.GetPayload().(type) {
	case *pb.EmbedStreamResponse_Opened:
		opened := payload.Opened
		if x.revision != nil && *x.revision != opened.GetModelRevision() {
			return modelChanged()
		}
		revision := opened.GetModelRevision()
		x.revision = &revision
		x.window = int(opened.GetMaxInflightInputs())
		x.credit = x.window
		x.maxBytes = int(opened.GetMaxRequestBytes())
		x.largest = room(opened.GetMaxRequestBytes())
		x.perBytes = min(bytesPerMessage, x.largest)
		x.perTexts = min(textsPerMessage, max(1, int(opened.GetMaxInputsPerMessage())))
	case *pb.EmbedStreamResponse_GoAway:
		x.leave(payload.GoAway.GetReconnectAfter().AsDuration())
	case *pb.EmbedStreamResponse_Results:
		x.credit += int(payload.Results.GetGrantedInputs())
		for _, result := range payload.Results.GetResults() {
			x.answer(result)
		}
	}
	return nil
}

func (x *exchange) answer(result *pb.StreamResult) {
	e := x.unanswered[result.GetId()]
	if e == nil || !e.flying {
		return
	}
	switch outcome := result.GetOutcome().(type) {
	case *pb.StreamResult_Embedding:
		vector, err := decode(outcome.Embedding)
		x.finish(e, vector, err)
	case *pb.StreamResult_Error:
		err := fromStatus(outcome.Error)
		again := err.refused() || err.Code == codes.Unavailable && err.RetryAfter != nil
		if again && e.sent < maxTries && err.delay() <= longestDelay {
			e.flying = false
			x.underWay--
			x.leave(jitter(err.delay()))
			return
		}
		x.finish(e, Vector{}, err)
	default:
		return
	}
	x.underWay--
	x.progress = true
}

// leave sends no more on this stream, and rests before the next one.
func (x *exchange) leave(rest time.Duration) {
	x.leaving = true
	x.rest = max(x.rest, rest)
}

// ended takes the end of the stream, nil for OK, and gives the pause before the next one. The error fails the call.
func (x *exchange) ended(err *Error) (time.Duration, *Error) {
	left := err == nil && x.leaving
	if err == nil {
		err = newError(codes.Unavailable, "the server ended the stream early")
	}
	if !err.refused() && err.Code != codes.Unavailable && !err.lost() {
		return 0, err
	}
	if x.window == 0 && !err.refused() {
		return x.absence(err)
	}
	x.absences = 0
	x.failures++
	if x.progress {
		x.failures = 0
	}
	if left && x.failures < maxTries {
		return x.rest, nil
	}
	sent := 0 // a text that ends every stream it is on must not be sent for ever
	for _, e := range x.unanswered {
		sent = max(sent, e.sent)
	}
	pause, again := err.pause(max(1, x.failures))
	if !again || x.failures >= maxTries || sent >= maxTries {
		return 0, err
	}
	return max(pause, x.rest), nil
}

// absence is the pause after a stream that no server opened: a restart may take longer than a few tries.
func (x *exchange) absence(err *Error) (time.Duration, *Error) {
	if x.absences == 0 {
		x.absentSince = time.Now()
	}
	x.absences++
	pause, _ := err.pause(x.absences)
	if x.timeout != 0 {
		left := x.timeout - time.Since(x.absentSince)
		if left <= 0 {
			return 0, err
		}
		pause = min(pause, left)
	}
	return pause, nil
}
