package gcstest

import "time"

// insert creates or overwrites an object.
func (st *store) insert(c *call, now time.Time) outcome {
	b, old, err := st.mayInsert(c, now)
	if err != nil {
		return failed(err)
	}
	if old != nil {
		if err := old.protection(b.name, b.RetentionPeriod, now); err != nil {
			return failed(err)
		}
	}
	o := c.build(b)
	o.generation, o.metageneration = st.generation(now), 1
	o.created, o.updated = now, now
	b.put(o)
	st.limits.spend(limitKey(c), now)
	return outcome{object: o, retain: b.RetentionPeriod}
}

// mayInsert checks everything about an upload that may be checked before its
// content is known.
func (st *store) mayInsert(c *call, now time.Time) (*bucket, *object, *apiError) {
	b, err := st.open(c, "storage.objects.create", true)
	if err != nil {
		return nil, nil, err
	}
	if !st.limits.allows(limitKey(c), now) {
		return nil, nil, throttled(b.name, c.name)
	}
	old := b.objects[c.name]
	var generation, metageneration int64
	if old != nil {
		generation, metageneration = old.generation, old.metageneration
	}
	if err := c.conds.check(generation, metageneration, false); err != nil {
		return nil, nil, err
	}
	return b, old, nil
}

// build makes the object that an upload describes.
func (c *call) build(b *bucket) *object {
	o := &object{
		name: c.name, properties: c.resource.properties, data: c.data,
		storageClass: c.resource.StorageClass, crc32c: c.crc32c, md5: c.md5,
	}
	if o.storageClass == "" {
		o.storageClass = b.class()
	}
	return o
}

// get reads an object, its metadata or its content.
func (st *store) get(c *call, _ time.Time) outcome {
	b, err := st.open(c, "storage.objects.get", false)
	if err != nil {
		return failed(err)
	}
	o, err := b.live(c)
	if err != nil {
		return failed(err)
	}
	if err := c.conds.check(o.generation, o.metageneration, true); err != nil {
		return failed(err)
	}
	if c.span != nil {
		if err := c.span.resolve(len(o.data)); err != nil {
			return failed(err)
		}
	}
	return outcome{object: o, retain: b.RetentionPeriod}
}

// change patches or replaces the properties of an object.
func (st *store) change(c *call, now time.Time) outcome {
	b, o, err := st.mutable(c, now, "storage.objects.update")
	if err != nil {
		return failed(err)
	}
	props := c.resource.properties
	if c.kind == Patch {
		props = c.patch.merge(o.properties)
	}
	if err := props.check(); err != nil {
		return failed(err)
	}
	if err := o.loosens(props.Retention, c.overrideRetention); err != nil {
		return failed(err)
	}
	next := o.patched(props, now)
	b.put(next)
	st.limits.spend(limitKey(c), now)
	return outcome{object: next, retain: b.RetentionPeriod}
}

// remove deletes an object.
func (st *store) remove(c *call, now time.Time) outcome {
	b, o, err := st.mutable(c, now, "storage.objects.delete")
	if err != nil {
		return failed(err)
	}
	if err := o.protection(b.name, b.RetentionPeriod, now); err != nil {
		return failed(err)
	}
	b.remove(c.name)
	st.limits.spend(limitKey(c), now)
	return outcome{object: o}
}

// mutable finds an object that is to be changed, in the service's order of
// checks: a caller that is too fast learns that first, and only then whether
// its preconditions hold.
func (st *store) mutable(c *call, now time.Time, permission string) (*bucket, *object, *apiError) {
	b, err := st.open(c, permission, true)
	if err != nil {
		return nil, nil, err
	}
	o, err := b.live(c)
	if err != nil {
		return nil, nil, err
	}
	if !st.limits.allows(limitKey(c), now) {
		return nil, nil, throttled(b.name, c.name)
	}
	if err := c.conds.check(o.generation, o.metageneration, false); err != nil {
		return nil, nil, err
	}
	return b, o, nil
}

// limitKey names an object among those of all buckets. No bucket's name has a
// slash in it.
func limitKey(c *call) string { return c.bucket + "/" + c.name }
