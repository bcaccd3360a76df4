"""What runs in a caller or in a Lambda function. It imports boto3 and the standard library only."""
