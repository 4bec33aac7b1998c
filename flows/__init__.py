"""When and whether: Prefect flows, registry actions, and the command line `ilm`."""
