"""One public function an operation: a readable reference, the fast paths, the choice between them."""
