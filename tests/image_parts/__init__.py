"""What tests about images share: workers, stores, tars, registries."""
