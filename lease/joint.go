package lease

// Joint returns one lease of several: it is held for as long as each of its parts is, and it is lost as soon as one is. Its
// token is that of the first. It is for use by the packages of gcsync; of one part it returns that.
func Joint(parts ...*Lease) *Lease {
	if len(parts) == 1 {
		return parts[0]
	}
	j := &Lease{keeper: new(Keeper), token: parts[0].token, done: make(chan struct{}), parts: parts}
	for _, p := range parts {
		p.keeper.mu.Lock()
		over := p.err
		p.whole = j
		p.keeper.mu.Unlock()
		if over != nil {
			j.finish(over)
		}
	}
	return j
}

// finish ends a joint lease from the outside: with a part.
func (l *Lease) finish(err error) {
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	l.end(err)
}

// check turns a passed deadline, of a part if there are parts, into the loss that it is.
func (l *Lease) check() {
	for _, p := range l.parts {
		p.Err() // ends the whole with it
	}
	if l.parts == nil {
		l.keeper.mu.Lock()
		defer l.keeper.mu.Unlock()
		l.keeper.check()
	}
}
