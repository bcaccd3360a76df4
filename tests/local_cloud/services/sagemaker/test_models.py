"""Models, endpoint configurations and listing, through boto3."""

from aws_requests import create_config, create_model

from local_cloud.testing.account import Account, error_of


def test_model_keeps_its_name_and_lowers_it_in_the_arn(account: Account) -> None:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-sagemaker-endpoint.html"""
    arn = create_model(account, "TailModel")["ModelArn"]

    described = account.client("sagemaker").describe_model(ModelName="TailModel")

    assert described["ModelName"] == "TailModel"
    assert arn == described["ModelArn"] == f"arn:aws:sagemaker:eu-west-1:{account.id}:model/tailmodel"
    assert described["PrimaryContainer"]["Mode"] == "MultiModel"


def test_model_over_a_missing_object_is_refused(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html"""
    account.upload("models/m37/1.tar.gz")
    url = f"s3://{account.bucket}/models/m37/2.tar.gz"

    code, message = error_of(create_model, account=account, Mode="SingleModel", ModelDataUrl=url)

    assert (code, message) == ("ValidationException", f"Could not find model data at {url}.")


def test_model_over_an_empty_prefix_is_refused(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/create-multi-model-endpoint.html"""
    account.upload("models/m37/1.tar.gz")

    code, message = error_of(create_model, account=account, ModelDataUrl=f"s3://{account.bucket}/other/")

    assert code == "ValidationException"
    assert "Could not find model data" in message


def test_model_name_is_taken_until_it_is_deleted(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html"""
    create_model(account)

    code, message = error_of(create_model, account=account)
    account.client("sagemaker").delete_model(ModelName="tail")

    assert code == "ValidationException"
    assert "Cannot create already existing model" in message
    create_model(account)


def test_invalid_name_is_refused(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html"""
    code, message = error_of(create_model, account=account, name="tail_model")

    assert code == "ValidationException"
    assert "Member must satisfy regular expression pattern" in message


def test_config_needs_its_model(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html"""
    code, message = error_of(create_config, account=account, name="config", model_name="absent")

    assert code == "ValidationException"
    assert message == f'Could not find model "arn:aws:sagemaker:eu-west-1:{account.id}:model/absent".'


def test_config_is_immutable_and_its_deletion_is_never_refused(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpointConfig.html"""
    create_model(account)
    create_config(account, "config", "tail")
    sagemaker = account.client("sagemaker")
    sagemaker.create_endpoint(EndpointName="tail", EndpointConfigName="config")

    again = error_of(create_config, account=account, name="config", model_name="tail")
    sagemaker.delete_endpoint_config(EndpointConfigName="config")
    gone = error_of(sagemaker.describe_endpoint_config, EndpointConfigName="config")

    assert "Cannot create already existing endpoint configuration" in again[1]
    assert gone[1].startswith("Could not find endpoint configuration")


def test_list_pages_filters_and_sorts(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModels.html"""
    for i in range(12):
        create_model(account, f"model-{i:02}")
    sagemaker = account.client("sagemaker")

    first = sagemaker.list_models(SortBy="Name", SortOrder="Ascending", MaxResults=5)
    pages = list(sagemaker.get_paginator("list_models").paginate(PaginationConfig={"PageSize": 5}))
    filtered = sagemaker.list_models(NameContains="L-1", SortBy="Name", SortOrder="Ascending")["Models"]

    assert [m["ModelName"] for m in first["Models"]] == [f"model-{i:02}" for i in range(5)]
    assert [len(page["Models"]) for page in pages] == [5, 5, 2]
    assert [m["ModelName"] for m in filtered] == ["model-10", "model-11"]


def test_tags_are_listed_added_and_deleted(account: Account) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTags.html"""
    arn = create_model(account)["ModelArn"]
    sagemaker = account.client("sagemaker")

    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "tier", "Value": "tail"}, {"Key": "x", "Value": "y"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["x"])

    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "tier", "Value": "tail"}]


def test_operation_the_local_emulator_lacks_is_an_error(account: Account) -> None:
    """Never a silent success: https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html"""
    code, message = error_of(account.client("sagemaker").list_training_jobs)

    assert code == "UnknownOperationException"
    assert "ListTrainingJobs" in message
