DROP TABLE contact_pictures;
