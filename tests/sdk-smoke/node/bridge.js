'use strict';
// Runs the npm clients for the Python side: reads a question a line, writes an
// answer a line. The first question says which client, where, and with which key.
const readline = require('readline');

const camel = (name) => name.charAt(0).toLowerCase() + name.slice(1);

// @alicloud/kms20160120: request classes and a method for each action.
function kms(place) {
  const sdk = require('@alicloud/kms20160120');
  const { Config } = require('@alicloud/rpc-client');
  const $tea = require('@alicloud/tea-typescript');
  const client = new sdk.default(new Config({
    accessKeyId: place.accessKeyId, accessKeySecret: place.accessKeySecret,
    regionId: place.region, endpoint: place.endpoint,
  }));
  const names = (action) => {
    const kind = sdk[`${action}Request`];
    return kind ? Object.fromEntries(Object.entries(kind.names()).map(([field, wire]) => [wire, field])) : {};
  };
  return {
    // What this client writes behind every code of the service.
    suffix: 'Error',
    parameters: (action) => (typeof client[camel(action)] === 'function' ? Object.keys(names(action)) : null),
    call: async (action, parameters) => {
      const fields = names(action);
      const given = {};
      for (const [wire, value] of Object.entries(parameters)) {
        given[fields[wire]] = value !== null && typeof value === 'object' ? JSON.stringify(value) : value;
      }
      const kind = sdk[`${action}Request`];
      return $tea.toMap(await (kind ? client[camel(action)](new kind(given)) : client[camel(action)]()));
    },
  };
}

// Parameters as the SDK's own request classes flatten them.
function flat(parameters) {
  const given = {};
  for (const [name, value] of Object.entries(parameters)) {
    if (Array.isArray(value) && !['Tags', 'TagKeys', 'Filters', 'VersionStages', 'SecretsList'].includes(name)) {
      value.forEach((item, at) => {
        if (item !== null && typeof item === 'object') {
          for (const [member, inner] of Object.entries(item)) given[`${name}.${at + 1}.${member}`] = inner;
        } else {
          given[`${name}.${at + 1}`] = item;
        }
      });
    } else if (value !== null && typeof value === 'object') {
      given[name] = JSON.stringify(value);
    } else {
      given[name] = `${value}`;
    }
  }
  return given;
}

// @alicloud/openapi-client: any action, by its name.
function openapi(place) {
  const { default: OpenApi, Config, Params, OpenApiRequest } = require('@alicloud/openapi-client');
  const { RuntimeOptions } = require('@alicloud/tea-util');
  const fs = require('fs');
  const client = new OpenApi(new Config({
    accessKeyId: place.accessKeyId, accessKeySecret: place.accessKeySecret,
    regionId: place.region, endpoint: place.endpoint,
    ca: place.ca ? fs.readFileSync(place.ca, 'utf8') : undefined,
  }));
  // By turns in the query and in the form body: the vault takes both. Long ones
  // fit into the body alone.
  let turn = 0;
  return {
    suffix: '',
    parameters: () => 'any',
    call: async (action, parameters) => {
      if (action === 'UpdateSecret' && parameters.ExtendedConfig) {
        const { ExtendedConfig: config, ...others } = parameters;
        parameters = { ...others, 'ExtendedConfig.CustomData': config.CustomData };
      }
      const given = flat(parameters);
      turn += 1;
      const inQuery = turn % 2 && JSON.stringify(given).length < 10000;
      const request = new OpenApiRequest(inQuery ? { query: given } : { body: given });
      const params = new Params({
        action, version: '2016-01-20', protocol: 'HTTPS', pathname: '/', method: 'POST',
        authType: 'AK', style: 'RPC', reqBodyType: 'formData', bodyType: 'json',
      });
      return (await client.callApi(params, request, new RuntimeOptions({}))).body;
    },
  };
}

function told(error, suffix) {
  const status = error.statusCode || (error.data && (error.data.statusCode || error.data.HttpStatus)) || null;
  const answered = Boolean(error.data && error.data.RequestId) || Boolean(error.statusCode);
  const code = error.code ? error.code.slice(0, error.code.endsWith(suffix) ? -suffix.length || undefined : undefined) : null;
  return { name: error.name, code, status, message: error.message, answered };
}

async function main() {
  let client = null;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const question = JSON.parse(line);
    let answer = {};
    if (client === null) {
      client = question.client === 'kms' ? kms(question) : openapi(question);
    } else if (question.has) {
      answer = { parameters: client.parameters(question.has) };
    } else {
      try {
        answer = { body: await client.call(question.action, question.parameters) };
      } catch (error) {
        answer = { error: told(error, client.suffix) };
      }
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}

main();
