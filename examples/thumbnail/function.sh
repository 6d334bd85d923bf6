# shellcheck shell=bash
# S3 calls it when a picture arrives: it puts a small JPEG of it into another bucket. Settings:
#   THUMBNAIL_BUCKET   the bucket for the small pictures
#   THUMBNAIL_SIZE     their longest side, in pixels [200]
# Needs ImageMagick: `magick`, or `convert` of version 6.

: "${THUMBNAIL_BUCKET:?is not set}"
resize=$(type -P magick || type -P convert)

handler() { lambda_each make_thumbnail; }

make_thumbnail() { # one record of the event
  local bucket key format folder size=${THUMBNAIL_SIZE:-200}
  lambda_get bucket .s3.bucket.name key .s3.object.key
  # Its own pictures would call the function again, without end.
  [[ $bucket != "$THUMBNAIL_BUCKET" ]] || lambda_error SameBucket "$bucket is the bucket for thumbnails"
  # A format before the file's name keeps ImageMagick from guessing: some formats can read other files.
  case ${key,,} in
    *.jpg | *.jpeg) format=jpeg ;;
    *.png) format=png ;;
    *)
      echo "skipped: $key is neither JPEG nor PNG" >&2
      return
      ;;
  esac
  lambda_tempdir folder
  aws s3 cp "s3://$bucket/$key" "$folder/picture" --only-show-errors
  "$resize" "$format:$folder/picture" -auto-orient -thumbnail "${size}x$size>" -background white -alpha remove \
    "jpeg:$folder/thumbnail"
  aws s3 cp "$folder/thumbnail" "s3://$THUMBNAIL_BUCKET/$key.jpg" --content-type image/jpeg --only-show-errors
  echo "made s3://$THUMBNAIL_BUCKET/$key.jpg"
}
