"""What lies on the disk and why: every byte under the data root accounted for, damage detected and repaired."""
