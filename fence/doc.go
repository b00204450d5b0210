// Package fence lets an object in a bucket refuse a zombie: a holder that was paused beyond its lease and still acts on
// what it believed before.
//
// # Guarantee
//
// The object carries the greatest fencing token that it has seen, in its metadata under [MetadataKey]. Once [Seal] has
// returned for a token, no [Object.Write] under an older token is applied any more, not even one that was sent before
// and is still on its way. So among holders that seal before they read, no acknowledged update is ever lost, whoever is
// paused and for how long:
//
//	err := mutex.Do(ctx, func(ctx context.Context) error {
//		token, _ := lease.TokenFrom(ctx)
//		o, err := fence.Seal(ctx, bucket, "state.json", token, nil)
//		if err != nil {
//			return err // a *StaleError if somebody newer was here
//		}
//		state, err := o.Read(ctx) // what was sealed, exactly
//		if err != nil {
//			return err
//		}
//		return o.Write(ctx, change(state)) // refused if somebody newer has sealed meanwhile
//	})
//
// Why it holds: sealing changes the object's metageneration. Every write is conditional on the generation and the
// metageneration that its writer last saw, an older writer's were seen before the seal, and the service never returns
// to an earlier pair of them. An older writer that looks again finds the greater token, and stops.
//
// Lost answers are resolved. Each seal and each write is signed with a nonce, its attempts are one write that can be
// applied once, and a refusal is believed only after the object was read back. What cannot be resolved is said
// ([ErrUnknown]).
//
// # Not given
//
//   - Writers that do not come through this package are not stopped. One that overwrites the object drops the token
//     with the rest of the metadata, and one that changes the metadata at will can set it back.
//   - Deleting the object, or restoring an earlier version of it, forgets the token.
//   - One object, not several: to change two of them together, keep them in one, or in a database (see the example of
//     SQL).
//   - Tokens are compared, not checked. They must come from one source, such as one Mutex or one lease.
//   - Until it is sealed, the object takes writes of a holder whose lease is over. That is harmless: nobody has read it
//     since.
//
// # Cost
//
// To seal takes a read and a change of metadata, to write an upload. The service takes about one change a second of one
// object, and a seal and a write are two; both wait for as long as their contexts let them.
package fence
