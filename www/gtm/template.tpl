___TERMS_OF_SERVICE___

By creating or modifying this file you agree to Google Tag Manager's Community
Template Gallery Developer Terms of Service available at
https://developers.google.com/tag-manager/gallery-tos (or such other URL as
Google may provide), as modified from time to time.


___INFO___

{
  "type": "TAG",
  "id": "cvt_temp_public_id",
  "version": 1,
  "securityGroups": [],
  "displayName": "Wingbeat",
  "categories": ["ANALYTICS", "LEAD_GENERATION", "MARKETING"],
  "brand": { "id": "brand_wingbeat", "displayName": "Wingbeat" },
  "description": "Lead tracking for companies that use Braze: page views, forms, links from Braze messages, and events of your own, sent to your own Wingbeat.",
  "containerContexts": ["WEB"]
}


___TEMPLATE_PARAMETERS___

[
  {
    "type": "SELECT",
    "name": "does",
    "displayName": "What this tag does",
    "macrosInSelect": false,
    "selectItems": [
      { "value": "load", "displayValue": "Loads the tracker" },
      { "value": "event", "displayValue": "Sends an event" },
      { "value": "identify", "displayValue": "Says who the visitor is" }
    ],
    "simpleValueType": true,
    "defaultValue": "load"
  },
  {
    "type": "TEXT",
    "name": "edge",
    "displayName": "Address of your Wingbeat",
    "help": "Without a slash at the end, for example https://www.example.com/wb",
    "simpleValueType": true,
    "valueValidators": [
      { "type": "NON_EMPTY" },
      { "type": "REGEX", "args": ["^https://[^?#]*[^/?#]$"], "errorMessage": "https:// and no slash at the end" }
    ],
    "enablingConditions": [{ "paramName": "does", "paramValue": "load", "type": "EQUALS" }]
  },
  {
    "type": "TEXT",
    "name": "site",
    "displayName": "Site key",
    "simpleValueType": true,
    "valueValidators": [{ "type": "NON_EMPTY" }],
    "enablingConditions": [{ "paramName": "does", "paramValue": "load", "type": "EQUALS" }]
  },
  {
    "type": "CHECKBOX",
    "name": "consent",
    "checkboxText": "Wait for the consent type analytics_storage, and stop when it is withdrawn",
    "simpleValueType": true,
    "defaultValue": true,
    "enablingConditions": [{ "paramName": "does", "paramValue": "load", "type": "EQUALS" }]
  },
  {
    "type": "CHECKBOX",
    "name": "hash",
    "checkboxText": "A new address after # is a page view, too",
    "simpleValueType": true,
    "enablingConditions": [{ "paramName": "does", "paramValue": "load", "type": "EQUALS" }]
  },
  {
    "type": "CHECKBOX",
    "name": "hashed",
    "checkboxText": "E-mail addresses leave the browser only as hashes",
    "simpleValueType": true,
    "enablingConditions": [{ "paramName": "does", "paramValue": "load", "type": "EQUALS" }]
  },
  {
    "type": "CHECKBOX",
    "name": "binds",
    "checkboxText": "Several domains, or forms in frames: one visitor on all of them",
    "simpleValueType": true,
    "enablingConditions": [{ "paramName": "does", "paramValue": "load", "type": "EQUALS" }]
  },
  {
    "type": "TEXT",
    "name": "link",
    "displayName": "Links to these origins carry the visitor over",
    "help": "With spaces between, for example https://shop.example https://help.example",
    "simpleValueType": true,
    "valueValidators": [{ "type": "REGEX", "args": ["^(https://[^\\s/]+(\\s+|$))*$"], "errorMessage": "origins: https:// and a name, no path" }],
    "enablingConditions": [{ "paramName": "binds", "paramValue": true, "type": "EQUALS" }]
  },
  {
    "type": "TEXT",
    "name": "guests",
    "displayName": "Frames of these origins may know the page's visitor",
    "simpleValueType": true,
    "valueValidators": [{ "type": "REGEX", "args": ["^(https://[^\\s/]+(\\s+|$))*$"], "errorMessage": "origins: https:// and a name, no path" }],
    "enablingConditions": [{ "paramName": "binds", "paramValue": true, "type": "EQUALS" }]
  },
  {
    "type": "TEXT",
    "name": "host",
    "displayName": "In a frame of a page of these origins: take on its visitor",
    "simpleValueType": true,
    "valueValidators": [{ "type": "REGEX", "args": ["^(https://[^\\s/]+(\\s+|$))*$"], "errorMessage": "origins: https:// and a name, no path" }],
    "enablingConditions": [{ "paramName": "binds", "paramValue": true, "type": "EQUALS" }]
  },
  {
    "type": "TEXT",
    "name": "eventName",
    "displayName": "Name of the event",
    "simpleValueType": true,
    "valueValidators": [{ "type": "NON_EMPTY" }],
    "enablingConditions": [{ "paramName": "does", "paramValue": "event", "type": "EQUALS" }]
  },
  {
    "type": "SIMPLE_TABLE",
    "name": "members",
    "displayName": "Properties of the event, or identifiers (email, external_id, phone, crm_id)",
    "simpleTableColumns": [
      { "defaultValue": "", "displayName": "Name", "name": "name", "type": "TEXT", "isUnique": true },
      { "defaultValue": "", "displayName": "Value", "name": "value", "type": "TEXT" }
    ],
    "enablingConditions": [
      { "paramName": "does", "paramValue": "event", "type": "EQUALS" },
      { "paramName": "does", "paramValue": "identify", "type": "EQUALS" }
    ]
  }
]


___SANDBOXED_JS_FOR_WEB_TEMPLATE___

const addConsentListener = require('addConsentListener');
const callInWindow = require('callInWindow');
const createArgumentsQueue = require('createArgumentsQueue');
const injectScript = require('injectScript');
const isConsentGranted = require('isConsentGranted');
const makeTableMap = require('makeTableMap');

// Both calls work before the tracker has come.
createArgumentsQueue('wingbeat', 'wingbeat.q');

if (data.does === 'load') {
  const sw = createArgumentsQueue('sw', 'sw.q');
  if (data.hash) sw('trackPageviews', { trackHashChange: true });
  if (data.consent) {
    if (isConsentGranted('analytics_storage')) callInWindow('wingbeat', 'consent', 'granted');
    addConsentListener('analytics_storage', (type, granted) => {
      callInWindow('wingbeat', 'consent', granted ? 'granted' : 'denied');
    });
  }
  const settings = { pid: data.site, consent: data.consent ? 'wait' : undefined };
  if (data.hashed) settings.emailFormat = 'sha256';
  if (data.binds) {
    settings.link = data.link || '';
    settings.guests = data.guests || '';
    settings.host = data.host || '';
  }
  sw('init', settings);
  // A tag cannot give a script attributes; sw.js, which stands beside the tracker, can.
  injectScript(data.edge + '/sw.js', data.gtmOnSuccess, data.gtmOnFailure, 'wingbeat');
} else {
  const members = makeTableMap(data.members || [], 'name', 'value') || {};
  if (data.does === 'event') callInWindow('wingbeat', 'event', { name: data.eventName, properties: members });
  else callInWindow('wingbeat', 'identify', members);
  data.gtmOnSuccess();
}


___WEB_PERMISSIONS___

[
  {
    "instance": {
      "key": { "publicId": "inject_script", "versionId": "1" },
      "param": [{ "key": "urls", "value": { "type": 2, "listItem": [{ "type": 1, "string": "https://*/sw.js" }, { "type": 1, "string": "https://*/*/sw.js" }] } }]
    },
    "isRequired": true
  },
  {
    "instance": {
      "key": { "publicId": "access_globals", "versionId": "1" },
      "param": [
        {
          "key": "keys",
          "value": {
            "type": 2,
            "listItem": [
              {
                "type": 3,
                "mapKey": [{ "type": 1, "string": "key" }, { "type": 1, "string": "read" }, { "type": 1, "string": "write" }, { "type": 1, "string": "execute" }],
                "mapValue": [{ "type": 1, "string": "wingbeat" }, { "type": 8, "boolean": true }, { "type": 8, "boolean": true }, { "type": 8, "boolean": true }]
              },
              {
                "type": 3,
                "mapKey": [{ "type": 1, "string": "key" }, { "type": 1, "string": "read" }, { "type": 1, "string": "write" }, { "type": 1, "string": "execute" }],
                "mapValue": [{ "type": 1, "string": "wingbeat.q" }, { "type": 8, "boolean": true }, { "type": 8, "boolean": true }, { "type": 8, "boolean": false }]
              },
              {
                "type": 3,
                "mapKey": [{ "type": 1, "string": "key" }, { "type": 1, "string": "read" }, { "type": 1, "string": "write" }, { "type": 1, "string": "execute" }],
                "mapValue": [{ "type": 1, "string": "sw" }, { "type": 8, "boolean": true }, { "type": 8, "boolean": true }, { "type": 8, "boolean": true }]
              },
              {
                "type": 3,
                "mapKey": [{ "type": 1, "string": "key" }, { "type": 1, "string": "read" }, { "type": 1, "string": "write" }, { "type": 1, "string": "execute" }],
                "mapValue": [{ "type": 1, "string": "sw.q" }, { "type": 8, "boolean": true }, { "type": 8, "boolean": true }, { "type": 8, "boolean": false }]
              }
            ]
          }
        }
      ]
    },
    "isRequired": true
  },
  {
    "instance": {
      "key": { "publicId": "access_consent", "versionId": "1" },
      "param": [
        {
          "key": "consentTypes",
          "value": {
            "type": 2,
            "listItem": [
              {
                "type": 3,
                "mapKey": [{ "type": 1, "string": "consentType" }, { "type": 1, "string": "read" }, { "type": 1, "string": "write" }],
                "mapValue": [{ "type": 1, "string": "analytics_storage" }, { "type": 8, "boolean": true }, { "type": 8, "boolean": false }]
              }
            ]
          }
        }
      ]
    },
    "isRequired": true
  }
]


___TESTS___

scenarios:
- name: Loads what stands beside the tracker
  code: |-
    mock('isConsentGranted', true);
    mock('injectScript', (url, done) => done());
    runCode({ does: 'load', edge: 'https://www.example.com/wb', site: 'st_1', consent: true });
    assertApi('injectScript').wasCalled();
    assertApi('callInWindow').wasCalledWith('wingbeat', 'consent', 'granted');
    assertApi('gtmOnSuccess').wasCalled();
- name: Sends an event with its properties
  code: |-
    runCode({ does: 'event', eventName: 'webinar', members: [{ name: 'topic', value: 'leads' }] });
    assertApi('callInWindow').wasCalledWith('wingbeat', 'event', { name: 'webinar', properties: { topic: 'leads' } });
    assertApi('gtmOnSuccess').wasCalled();


___NOTES___

Import: Templates > New > the menu at the top right > Import. Then make a tag of it that fires on Initialization - All
Pages. Trigger events and identities with tags of the same template.
