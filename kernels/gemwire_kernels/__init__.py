"""Operations of a Gemma 3 encoder over packed batches; every backend satisfies `ops.Ops`."""
