package gemwire

import (
	"context"
	"fmt"
	"iter"
	"time"

	"google.golang.org/grpc/codes"

	pb "github.com/gemwire/gemwire/clients/go/gemwirev1"
)

// linger is how long a message waits for more texts of a slow source.
const linger = 5 * time.Millisecond

// A Result is the vector of one text of a stream, or why it has none.
type Result struct {
	// Index is the place of the text among all texts of the call.
	Index int
	// Vector is empty if Err is not nil.
	Vector Vector
	// Err is an *Error of this text alone. The others go on.
	Err error
}

// EmbedStream gives the vectors of any number of texts, in their order, over one stream. It is for bulk work.
//
//	for result, err := range client.EmbedStream(ctx, slices.Values(gemwire.Inputs("Venus", "Mars"))) {
//		if err != nil {
//			return err // the stream failed; it was the last result
//		}
//		if result.Err != nil {
//			continue // this text failed
//		}
//		use(result.Index, result.Vector.Float32)
//	}
//
// It takes texts one by one, as far as the server gives credit, so there may be any number of them. At most
// Limits.max_stream_inflight_inputs are taken and not handed out: a slow loop slows the source. If the server
// goes away, the client sends what is unanswered to the next one. [WithUnordered] hands out results as they
// come. [WithTimeout] is the longest wait for an answer.
//
// An error ends the loop. It is ErrUnavailable where five streams in a row brought no answer, or no server opened
// one within the timeout.
//
// texts runs in a goroutine of its own. If it panics, the loop panics. A loop that stops early cancels the stream
// at once, and goes on when texts has returned: a source that waits for something must watch ctx, too.
func (c *Client) EmbedStream(ctx context.Context, texts iter.Seq[Input], opts ...Option) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		o, err := c.options(opts)
		if err == nil && o.targetTask != nil {
			err = invalid("WithTargetTask is an option of Similarity")
		}
		if err != nil {
			yield(Result{}, err)
			return
		}
		ctx, release := c.bind(ctx, 0)
		source := takeFrom(ctx, texts)
		defer source.join()
		defer release()
		p := &pump{
			client:   c,
			exchange: newExchange(!o.unordered, o.timeout),
			source:   source,
			texts:    source.texts,
			open:     &pb.StreamOpen{Options: o.embed},
			timeout:  o.timeout,
			yield:    yield,
		}
		if err := p.run(ctx); err != nil {
			yield(Result{}, err)
		}
	}
}

// A pump moves texts and results between the source, the streams and the caller, in the caller's goroutine.
type pump struct {
	client   *Client
	exchange *exchange
	source   *source
	texts    <-chan Input // the source's; nil when it has ended
	open     *pb.StreamOpen
	timeout  time.Duration
	yield    func(Result, error) bool
	stopped  bool // the caller wants no more
}

// run gives the error that fails the call.
func (p *pump) run(ctx context.Context) error {
	for {
		p.exchange.begin()
		ending, err := p.stream(ctx)
		if err != nil {
			return err
		}
		if p.stopped || p.exchange.finished() {
			return nil
		}
		if ctx.Err() != nil {
			return p.client.stopped(ctx)
		}
		pause, failed := p.exchange.ended(ending)
		if failed != nil {
			return failed
		}
		if !sleep(ctx, pause) {
			return p.client.stopped(ctx)
		}
	}
}

// stream moves until the stream has ended, and gives why, nil for OK; or until the caller stops. The second
// error fails the call.
func (p *pump) stream(ctx context.Context) (*Error, error) {
	call := p.client.openStream(ctx)
	defer call.close()
	x := p.exchange
	outbox := call.outbox
	message := &pb.EmbedStreamRequest{Payload: &pb.EmbedStreamRequest_Open{Open: p.open}}
	lingering := newAlarm()
	defer lingering.stop()
	silence := newAlarm()
	defer silence.stop()
	owed := false
	var heard time.Time // from then on the server is waited for
	for {
		if p.handOut() {
			heard = time.Now()
		}
		if p.stopped {
			return nil, nil
		}
		if x.sendingDone() && outbox != nil {
			close(outbox)
			outbox = nil
		}
		if message == nil && x.sendable() {
			if p.complete() || lingering.rang {
				message = &pb.EmbedStreamRequest{Payload: &pb.EmbedStreamRequest_Batch{Batch: x.message()}}
				lingering.stop()
			} else {
				lingering.start(linger)
			}
		}
		sending := outbox
		if message == nil {
			sending = nil
		}
		want := p.source.want
		space := x.space() - p.source.outstanding
		if space <= 0 {
			want = nil
		}
		if !owed {
			heard = time.Now()
		}
		if owed = x.owed(); owed && p.timeout != 0 {
			silence.start(time.Until(heard.Add(p.timeout)))
		}
		select {
		case sending <- message:
			x.committed(len(message.GetBatch().GetInputs()))
			message = nil
		case want <- space:
			p.source.outstanding += space
		case text, more := <-p.texts:
			p.take(text, more)
		case answer, more := <-call.inbox:
			if !more {
				if call.err == nil {
					return nil, nil
				}
				return p.client.failure(ctx, call.err), nil
			}
			heard = time.Now()
			if answer.GetOpened() != nil {
				p.client.known.Store(true)
			}
			if err := x.receive(answer); err != nil {
				return nil, err
			}
			if x.leaving {
				message = nil
			}
		case <-lingering.C:
			lingering.ring()
		case <-silence.C:
			silence.stop()
			if x.owed() && len(call.inbox) == 0 && time.Since(heard) >= p.timeout {
				return nil, newError(codes.DeadlineExceeded, fmt.Sprintf("no answer for %v", p.timeout))
			}
		case <-ctx.Done():
			return nil, p.client.stopped(ctx)
		}
	}
}

// handOut yields the results whose turn has come. It reports whether there were any.
func (p *pump) handOut() bool {
	some := false
	for !p.stopped {
		result, ok := p.exchange.next()
		if !ok {
			break
		}
		some = true
		p.stopped = !p.yield(result, nil)
	}
	return some
}

// take takes this text and what else the source has ready.
func (p *pump) take(text Input, more bool) {
	for {
		if !more {
			p.texts = nil
			p.exchange.sourceEnded = p.source.ended()
			return
		}
		p.source.outstanding--
		p.exchange.add(text)
		select {
		case text, more = <-p.texts:
		default:
			return
		}
	}
}

// complete reports whether no more texts can join the next message.
func (p *pump) complete() bool {
	x := p.exchange
	full := len(x.unsent) >= min(x.perTexts, x.credit)
	return full || x.sourceEnded || p.source.outstanding == 0 && x.space() <= 0
}
