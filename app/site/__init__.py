"""What stands beside the resources: the API's document, and pages for people."""
