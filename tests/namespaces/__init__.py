"""A cluster whose nodes share nothing: Linux namespaces with an address, a disk and processes of their own."""
