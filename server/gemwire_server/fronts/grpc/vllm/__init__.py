"""vLLM's engine service, as Kubernetes' inference gateway calls it."""
