"""What is generated from the models for others to build against: schemas, AsyncAPI, examples."""
