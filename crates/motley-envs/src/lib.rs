//! Motley's native environments: one folder a suite, a file a task, no download.
