//! Names of services and actions in policies that differ from those of the AWS CLI.

/// What services are called in policies, if not as in the AWS CLI.
pub(super) const PREFIXES: [(&str, &str); 19] = [
    ("apigatewaymanagementapi", "execute-api"),
    ("bedrock-agent-runtime", "bedrock"),
    ("bedrock-runtime", "bedrock"),
    ("configservice", "config"),
    ("deploy", "codedeploy"),
    ("efs", "elasticfilesystem"),
    ("elb", "elasticloadbalancing"),
    ("elbv2", "elasticloadbalancing"),
    ("emr", "elasticmapreduce"),
    ("iot-data", "iot"),
    ("opensearch", "es"),
    ("rds-data", "rds-data"),
    ("resourcegroupstaggingapi", "tag"),
    ("s3api", "s3"),
    ("sesv2", "ses"),
    ("stepfunctions", "states"),
    ("timestream-query", "timestream"),
    ("timestream-write", "timestream"),
    ("wafv2", "wafv2"),
];

/// Operations that are allowed by actions with other names.
pub(super) const ACTIONS: [(&str, &[&str]); 31] = [
    ("dynamodb:TransactGetItems", &["dynamodb:GetItem"]),
    (
        "dynamodb:TransactWriteItems",
        &[
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    ("ecs:RunTask", &["ecs:RunTask", "iam:PassRole"]),
    ("iot:Publish", &["iot:Publish"]),
    ("lambda:Invoke", &["lambda:InvokeFunction"]),
    ("s3:CopyObject", &["s3:GetObject", "s3:PutObject"]),
    ("s3:CompleteMultipartUpload", &["s3:PutObject"]),
    ("s3:CreateMultipartUpload", &["s3:PutObject"]),
    ("s3:DeleteObjects", &["s3:DeleteObject"]),
    ("s3:GetBucketEncryption", &["s3:GetEncryptionConfiguration"]),
    (
        "s3:GetObjectAttributes",
        &["s3:GetObject", "s3:GetObjectAttributes"],
    ),
    ("s3:HeadBucket", &["s3:ListBucket"]),
    ("s3:HeadObject", &["s3:GetObject"]),
    ("s3:ListBuckets", &["s3:ListAllMyBuckets"]),
    ("s3:ListObjectVersions", &["s3:ListBucketVersions"]),
    ("s3:ListObjects", &["s3:ListBucket"]),
    ("s3:ListObjectsV2", &["s3:ListBucket"]),
    ("s3:ListParts", &["s3:ListMultipartUploadParts"]),
    ("s3:SelectObjectContent", &["s3:GetObject"]),
    ("s3:UploadPart", &["s3:PutObject"]),
    ("s3:UploadPartCopy", &["s3:GetObject", "s3:PutObject"]),
    ("sns:PublishBatch", &["sns:Publish"]),
    (
        "sqs:ChangeMessageVisibilityBatch",
        &["sqs:ChangeMessageVisibility"],
    ),
    ("sqs:DeleteMessageBatch", &["sqs:DeleteMessage"]),
    ("sqs:SendMessageBatch", &["sqs:SendMessage"]),
    ("states:StartExecution", &["states:StartExecution"]),
    (
        "sts:DecodeAuthorizationMessage",
        &["sts:DecodeAuthorizationMessage"],
    ),
    // Everybody may ask this.
    ("sts:GetCallerIdentity", &[]),
    ("ecr:GetLoginPassword", &["ecr:GetAuthorizationToken"]),
    ("eks:UpdateKubeconfig", &["eks:DescribeCluster"]),
    ("logs:Tail", &["logs:FilterLogEvents"]),
];
