package gemwire

import "time"

// An alarm is a timer that is started and stopped many times.
type alarm struct {
	*time.Timer
	running bool
	rang    bool
}

func newAlarm() *alarm {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &alarm{Timer: timer}
}

// start starts it unless it runs.
func (a *alarm) start(d time.Duration) {
	if !a.running {
		a.running = true
		a.Reset(d)
	}
}

// ring notes that it rang, until it is stopped.
func (a *alarm) ring() {
	a.running = false
	a.rang = true
}

func (a *alarm) stop() {
	a.running = false
	a.rang = false
	a.Stop()
}
