"""Services, networks and volumes of a model as bodies of Docker's requests; pure."""
